"""The parts that views share, made once per application from its services."""

from __future__ import annotations

from flask import current_app

from checks.catalogue import Catalogue
from web.board import Board
from web.parsed_rules import ParsedRules
from web.services import services


def board() -> Board:
    found = current_app.extensions["henge_board"]
    assert isinstance(found, Board)
    return found


def parsed_rules() -> ParsedRules:
    found = current_app.extensions["henge_parsed_rules"]
    assert isinstance(found, ParsedRules)
    return found


def catalogue() -> Catalogue:
    return Catalogue(services().state.read, services().secrets)
