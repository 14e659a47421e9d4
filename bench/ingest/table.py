"""The rows of a file, one after another: CSV, TSV, JSON lines, a JSON list, Parquet.

No more than a few thousand rows are in memory at once, however large the file is.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bench.data import json_stream
from bench.errors import InputError
from bench.ingest.bad_rows import BadRows

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
DELIMITERS = ",;\t|"
LONGEST_CELL = 10 * 2**20
"""Characters. A quote that is never closed would make one cell of the rest of the file."""
BATCH = 4096
"""Rows of a Parquet file that are read at once."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row. `place`: its file and line, for messages. `done`: bytes of the file up to here."""

    place: str
    values: Mapping[str, Any]
    done: int = 0


@dataclass(frozen=True)
class TableFile:
    """A file of rows. `delimiter` and `encoding` are of CSV; no delimiter: it is guessed."""

    path: Path
    encoding: str = "utf-8-sig"
    delimiter: str = ""

    @property
    def form(self) -> str:
        """csv, tsv, json or parquet, by the end of the name. Raises InputError."""
        form = SUFFIXES.get(self.path.suffix.lower())
        if form is None:
            raise InputError(
                f"{self.path}: not a kind of file that is read (need .csv, .tsv, .jsonl, .json or"
                " .parquet)"
            )
        return form

    @property
    def size(self) -> int:
        """Bytes. Raises InputError if there is no such file."""
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file")
        return self.path.stat().st_size

    def rows(self, bad: BadRows) -> Iterator[TableRow]:
        """Every row, in the order of the file. Raises InputError if the file cannot be read."""
        try:
            if not self.size:
                raise InputError(f"{self.path}: the file is empty")
            if self.form == "parquet":
                yield from self._parquet()
                return
            with self.path.open("rb") as file:
                yield from self._json(file, bad) if self.form == "json" else self._csv(file, bad)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror or error}") from None

    # CSV

    def _csv(self, file: BinaryIO, bad: BadRows) -> Iterator[TableRow]:
        csv.field_size_limit(LONGEST_CELL)
        text = io.TextIOWrapper(file, encoding=self.encoding, newline="")
        line = 1
        try:
            delimiter = self._delimiter(text)
            reader = csv.reader(text, delimiter=delimiter, strict=True)
            header = self._header(next(reader))
            while True:
                line = reader.line_num + 1
                place = f"{self.path.name}: line {line}"
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    bad.refuse(f"{place}: {_quoting(str(error))}")
                    continue
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    bad.refuse(
                        f"{place}: {len(cells)} cells for {len(header)} columns: quote cells that"
                        f" hold {delimiter!r} or a line break, or give --delimiter"
                    )
                    continue
                yield TableRow(place, dict(zip(header, cells, strict=True)), file.tell())
        except (UnicodeDecodeError, LookupError) as error:
            raise InputError(self._not_text(error, line)) from None

    def _delimiter(self, text: io.TextIOWrapper) -> str:
        """The one that is given, or the one that the header has most of."""
        header = text.readline()
        text.seek(0)
        if self.delimiter:
            return self.delimiter
        if self.form == "tsv":
            return "\t"
        return max(DELIMITERS, key=header.count)

    def _header(self, cells: list[str]) -> list[str]:
        names = [cell.strip() for cell in cells]
        for name in names:
            if names.count(name) > 1:
                raise InputError(
                    f"{self.path.name}: line 1: two columns are called {name!r}: the first line"
                    " names each column once"
                )
        return names

    def _not_text(self, error: Exception, line: int) -> str:
        if isinstance(error, LookupError):
            return f"--encoding {self.encoding}: no such encoding, as utf-8 or latin-1 is one"
        return (
            f"{self.path.name}: not {self.encoding.removesuffix('-sig')} from about line {line} on:"
            " give --encoding, as in --encoding latin-1 or --encoding utf-16"
        )

    # JSON

    def _json(self, file: BinaryIO, bad: BadRows) -> Iterator[TableRow]:
        """A list of objects, or an object on each line, whatever the file is called."""
        start = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
        file.seek(0)
        entries = self._list(file) if start.startswith(b"[") else self._lines(file, bad)
        for place, value in entries:
            if not isinstance(value, Mapping):
                bad.refuse(f"{place}: not an object with a value for each column")
                continue
            yield TableRow(place, value, file.tell())

    def _list(self, file: BinaryIO) -> Iterator[tuple[str, Any]]:
        remedy = "it should be a list of objects"
        source = json_stream.Source(self.path, self.path.name, remedy)
        for index, (value, _) in enumerate(json_stream.records(source, file)):
            yield f"{self.path.name}: record {index}", value

    def _lines(self, file: BinaryIO, bad: BadRows) -> Iterator[tuple[str, Any]]:
        # readline, because a file that is iterated over does not tell where it is
        for number, line in enumerate(iter(file.readline, b""), 1):
            if not line.strip():
                continue
            place = f"{self.path.name}: line {number}"
            try:
                yield place, json.loads(line.decode("utf-8-sig"))
            except UnicodeDecodeError:
                bad.refuse(f"{place}: not UTF-8: write the file again in UTF-8")
            except json.JSONDecodeError as error:
                bad.refuse(f"{place}: not JSON at character {error.colno}: {error.msg}")
            except RecursionError:
                bad.refuse(f"{place}: lists or objects nested too deeply")

    # Parquet

    def _parquet(self) -> Iterator[TableRow]:
        import pyarrow
        from pyarrow import parquet

        try:
            # Without a buffer a whole row group, which may be the whole file, would be in memory.
            table = parquet.ParquetFile(self.path, buffer_size=2**20, pre_buffer=False)
            share, number = self.size / max(1, table.metadata.num_rows), 0
            for batch in table.iter_batches(batch_size=BATCH, use_threads=False):
                for values in batch.to_pylist():
                    place = f"{self.path.name}: row {number}"
                    number += 1
                    yield TableRow(place, values, int(share * number))
        except pyarrow.ArrowException as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{self.path.name}: not a Parquet file: {reason:.120}") from None


def _quoting(error: str) -> str:
    """What the csv module says of a row, with what to do."""
    if "field larger" in error or "unexpected end" in error:
        return "a quote is opened here and never closed: close it, or double a quote inside a cell"
    return f'{error}: double a quote inside a cell, as in ""so""'


def value_of(values: Mapping[str, Any], column: str) -> Any:
    """A row's value in a column, None if it has none; `author.id` is a field of an object."""
    if column in values:
        return values[column]
    value: Any = values
    for name in column.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def column_names(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The columns of a row; those of an object in it by their path, as `author.id`."""
    names = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            names += column_names(value, f"{prefix}{name}.")
        else:
            names.append(f"{prefix}{name}")
    return names
