"""The pages, a folder per family: views, templates and partials."""

from __future__ import annotations

from flask import Flask


def install(app: Flask) -> None:
    from web.pages.account import second_factor
    from web.pages.account import views as account
    from web.pages.audit import views as audit
    from web.pages.channels import views as channels
    from web.pages.checks import forms as check_forms
    from web.pages.checks import views as checks
    from web.pages.explore import views as explore
    from web.pages.incidents import views as incidents
    from web.pages.manual import views as manual
    from web.pages.overview import views as overview
    from web.pages.rules import views as rules
    from web.pages.setup import views as setup
    from web.pages.start import telling as start_telling
    from web.pages.start import views as start
    from web.pages.system import views as system

    for family in (
        overview,
        checks,
        check_forms,
        explore,
        incidents,
        rules,
        channels,
        system,
        setup,
        start,
        start_telling,
        account,
        second_factor,
        audit,
        manual,
    ):
        app.register_blueprint(family.bp)
