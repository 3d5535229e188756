"""Geometry in columns: which columns hold WKB, and in which reference system."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

LONGITUDE_LATITUDE = 4326
"""What GeoParquet means where it names no reference system."""
_EXTENSIONS = frozenset({b"geoarrow.wkb", b"ogc.wkb"})


def srids_of(schema: pa.Schema) -> dict[str, int]:
    """SRIDs by the name of the column; 0 where the file does not tell one that PostGIS knows."""
    found = {}
    for field in schema:
        metadata = field.metadata or {}
        if metadata.get(b"ARROW:extension:name") in _EXTENSIONS:
            said = _json(metadata.get(b"ARROW:extension:metadata", b"")) or {}
            found[field.name] = _srid(said.get("crs"))
    columns = (_json((schema.metadata or {}).get(b"geo", b"")) or {}).get("columns", {})
    for name, said in columns.items():
        if said.get("encoding") == "WKB":
            found[name] = _srid(said["crs"]) if "crs" in said else LONGITUDE_LATITUDE
    return found


def _srid(crs: Any) -> int:  # noqa: ANN401  # PROJJSON, or "EPSG:25830", or null
    if isinstance(crs, str):
        authority, _, code = crs.partition(":")
        crs = {"id": {"authority": authority, "code": code}}
    known = crs.get("id", {}) if isinstance(crs, dict) else {}
    code = str(known.get("code", ""))
    if known.get("authority") == "OGC" and code == "CRS84":
        return LONGITUDE_LATITUDE
    return int(code) if code.isascii() and code.isdigit() else 0


def _json(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
