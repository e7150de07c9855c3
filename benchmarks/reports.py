"""Reports: one CSV row per cell, and Markdown tables of mean ± standard deviation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.cells import NOT_RUN

_HIDDEN = ("traceback",)
_REASONS = 6  # of cells that failed or were skipped


def write(path: Path, text: str) -> None:
    """Replace a file as a whole, so that a reader never meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


def write_csv(path: Path, cells: pd.DataFrame) -> None:
    write(path, cells.drop(columns=[c for c in _HIDDEN if c in cells]).to_csv(index=False))


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table; the index becomes the first columns."""
    table = table.reset_index() if any(table.index.names) else table
    lines = ["| " + " | ".join(str(c) for c in table.columns) + " |"]
    lines.append("|" + "---|" * len(table.columns))
    for row in table.itertuples(index=False):
        lines.append("| " + " | ".join("" if _absent(v) else str(v) for v in row) + " |")
    return "\n".join(lines)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± standard deviation (n - 1) and, in brackets, the number of values below three."""
    values = np.asarray([v for v in values if not _absent(v)], dtype=float)
    if len(values) == 0:
        return NOT_RUN
    if len(values) == 1:
        return f"{values[0]:z.{digits}f} (1)"
    text = f"{values.mean():z.{digits}f} ± {values.std(ddof=1):.{digits}f}"
    return text if len(values) > 2 else f"{text} ({len(values)})"


def summary(
    cells: pd.DataFrame,
    rows: Sequence[str],
    columns: str,
    value: str = "accuracy",
    digits: int = 2,
) -> pd.DataFrame:
    """`spread` of a measurement over seeds, as a table in the order of the cells."""
    rows = list(rows)
    values = cells[value] if value in cells else pd.Series(np.nan, cells.index)
    cells = cells.assign(**{value: values})
    cells = cells.astype({name: str for name in rows})
    table = cells.groupby([*rows, columns], sort=False)[value].agg(
        lambda v: spread(v.tolist(), digits)
    )
    status = cells.groupby([*rows, columns], sort=False)["status"].agg(
        lambda s: s.iloc[0] if s.nunique() == 1 else ""
    )
    table[status.isin(["failed", "skipped"])] = status
    table[(status == "ok") & (table == NOT_RUN)] = ""  # it ran, and has no such figure
    order = cells.drop_duplicates(rows)[rows]
    names = cells[columns].drop_duplicates()
    table = table.unstack(columns).reindex(columns=names)
    index = order.iloc[:, 0] if len(rows) == 1 else pd.MultiIndex.from_frame(order)
    table = table.reindex(index).fillna("")
    table.columns.name = None
    return table


def means(cells: pd.DataFrame, rows: str, columns: str) -> pd.DataFrame:
    """Mean accuracy over seeds, NaN where nothing was run; in the order of the cells."""
    if "accuracy" not in cells:
        cells = cells.assign(accuracy=np.nan)
    table = cells.pivot_table(
        index=rows, columns=columns, values="accuracy", aggfunc="mean", sort=False, dropna=False
    )
    return table.reindex(
        index=cells[rows].drop_duplicates(), columns=cells[columns].drop_duplicates()
    )


def provenance(cells: pd.DataFrame, command: str) -> str:
    """What made the numbers: command, seeds, machine, versions, dates, CPU time, gaps."""
    done = cells[cells["status"] == "ok"]
    lines = [f"- Command: `{command}`"]
    if len(done):
        unique = done.drop_duplicates("key")
        cpu = unique["cell_cpu_seconds"].sum()
        peak = unique["peak_memory_mb"].max()
        lines += [
            f"- Seeds: {_listed(done['seed'])}; mean ± standard deviation over them, with their "
            "number in brackets where fewer than three.",
            f"- Machine: {_listed(done['cpu'])}; threads per cell: {_listed(done['threads'])}."
            + (" CPU seconds of one do not compare with another's." * (done["cpu"].nunique() > 1)),
            f"- Versions: {_listed(done['versions'], '; ')}; commit "
            f"{_listed(done['commit'].fillna('unknown'))}.",
            f"- Date: {done['date'].min()} to {done['date'].max()} UTC.",
            f"- {len(unique)} cells, {cpu:.0f} CPU seconds, peak memory {peak:.0f} MB.",
        ]
    for status in ("failed", "skipped", NOT_RUN):
        absent = cells[cells["status"] == status].drop_duplicates("key")
        if len(absent):
            named = (absent["dataset"] + " " + absent["method"]).drop_duplicates()
            lines.append(f"- {len(absent)} cells {status}: {_shortened(named)}.")
    if "error" in cells:
        errors = cells.loc[cells["status"].isin(["failed", "skipped"]), "error"].drop_duplicates()
        lines += [f"  - {str(error).splitlines()[0][:200]}" for error in errors[:_REASONS]]
        if len(errors) > _REASONS:
            lines.append(f"  - and {len(errors) - _REASONS} reasons more, in the CSV")
    return "\n".join(lines)


def _listed(values: pd.Series, separator: str = ", ") -> str:
    unique = values.drop_duplicates()
    if pd.api.types.is_numeric_dtype(unique):
        unique = unique.astype(int)
    return separator.join(str(v) for v in unique)


def _shortened(names: pd.Series, limit: int = 12) -> str:
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _absent(value) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))
