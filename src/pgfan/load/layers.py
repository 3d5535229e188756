"""Geographic files through GDAL: a layer as batches of columns, its geometry as WKB.

GeoPackage and Shapefile are cut into pieces of features, since they find the n-th one by itself;
GeoJSON and TopoJSON are read as a whole by GDAL, and are one piece. See "OGR Vector Drivers" in
GDAL's documentation.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyogrio
from pyogrio.raw import open_arrow

from pgfan.errors import UsageError
from pgfan.load.sources import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

GEOMETRY = "geometry"
"""The column of files that do not name it."""
PIECE_FEATURES = 20_000
BATCH_FEATURES = 2_000
"""A border may have a megabyte of points."""


class LayerBatches:
    """Implements `pgfan.load.columnar.Batches`."""

    def __init__(self, path: str, layer: str | None, piece_features: int = PIECE_FEATURES) -> None:
        """Look at the layer. Raises FileError, and UsageError where there are several."""
        self._path = path
        self._layer = _layer_of(path, layer)
        try:
            found = pyogrio.read_info(path, layer=self._layer, force_feature_count=True)
            with open_arrow(path, layer=self._layer, use_pyarrow=True) as (meta, reader):
                schema = reader.schema
        except pyogrio.errors.DataSourceError as error:
            raise FileError(f"{path}: {error}") from error
        self._features = int(found["features"])
        # GDAL calls a geometry without a name so.
        self._unnamed = meta["geometry_name"] or "wkb_geometry"
        name = meta["geometry_name"] or GEOMETRY
        names = [name if one == self._unnamed else one for one in schema.names]
        geo = {"columns": {name: {"encoding": "WKB", "crs": meta["crs"]}}}
        self.schema = pa.schema(
            [field.with_name(one) for field, one in zip(schema, names, strict=True)],
            {b"geo": json.dumps(geo).encode()} if meta["geometry_type"] else {},
        )
        seeks = bool(found["capabilities"]["fast_set_next_by_index"])
        is_json = str(found["driver"]).endswith("JSON")
        self._piece = piece_features if seeks and not is_json else max(1, self._features)
        self.pieces = -(-self._features // self._piece)

    def rows(self, lo: int, hi: int) -> int:
        """See Batches."""
        return max(0, min(self._features, hi * self._piece) - lo * self._piece)

    def read(self, lo: int, hi: int) -> Iterator[pa.RecordBatch]:
        """See Batches."""
        left = self.rows(lo, hi)
        if not left:
            return
        try:
            with open_arrow(
                self._path,
                layer=self._layer,
                skip_features=lo * self._piece,
                batch_size=BATCH_FEATURES,
                use_pyarrow=True,
            ) as (_, reader):
                for batch in reader:
                    rows = batch.slice(0, left)
                    left -= rows.num_rows
                    yield pa.RecordBatch.from_arrays(rows.columns, schema=self.schema)
                    if not left:
                        return
        except pyogrio.errors.DataSourceError as error:
            raise FileError(f"{self._path}: {error}") from error
        raise FileError(f"{self._path} has {left} features fewer than when it was opened")


def _layer_of(path: str, layer: str | None) -> str:
    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(path)]
    except pyogrio.errors.DataSourceError as error:
        raise FileError(f"{path}: {error}") from error
    if layer is None and len(layers) == 1:
        return layers[0]
    if layer is None or layer not in layers:
        what = f"no layer {layer}" if layer is not None else f"{len(layers)} layers"
        raise UsageError(f"{path} has {what}: it has {', '.join(layers)}", hint="--layer NAME")
    return layer
