"""Scraping, alerting and rules as Prometheus tells them, in their true shape: nothing is scraped here yet."""

from __future__ import annotations

from flask import Blueprint, Response

from web.api.prometheus.shape import success

bp = Blueprint("prometheus_targets", __name__, url_prefix="/prometheus/api/v1")


@bp.get("/targets")
def targets() -> Response:
    return success({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}})


@bp.get("/scrape_pools")
def scrape_pools() -> Response:
    return success({"scrapePools": []})


@bp.get("/alertmanagers")
def alertmanagers() -> Response:
    return success({"activeAlertmanagers": [], "droppedAlertmanagers": []})


@bp.get("/notifications")
def notifications() -> Response:
    return success([])
