"""Tables: what is no distribution never reaches the native coder."""

import numpy as np
import pytest
from compressai.entropy_models import GaussianConditional

from interfero.codecs.entropy_tables import MAX_SYMBOL, Tables, tables_from_lists, tables_of
from interfero.errors import CodecError

ROWS = [[0, 5, 65536], [0, 1, 2, 65535, 65536], [0, 65536]]
SIZES = [3, 5, 2]
OFFSETS = [0, -2, 7]


def tables(rows=ROWS, sizes=SIZES, offsets=OFFSETS):
    return tables_from_lists(rows, sizes, offsets)


def test_rows_are_cut_to_their_length():
    assert [tables().row(i) for i in range(3)] == ROWS


def test_only_rows_in_use_are_selected():
    chosen = tables().select(np.array([2, 0, 2, 2], np.int32))
    assert chosen.used.tolist() == [0, 2]
    assert chosen.indexes.tolist() == [1, 0, 1, 1]
    assert chosen.rows == [ROWS[0], ROWS[2]]
    assert (chosen.sizes, chosen.offsets) == ([3, 2], [0, 7])


def test_nothing_selects_nothing():
    assert tables().select(np.array([], np.int32)).rows == []


@pytest.mark.parametrize("indexes", [[0, 3], [-1], [2**31 - 1]])
def test_a_row_that_is_not_there_is_refused(indexes):
    with pytest.raises(CodecError, match="table of 3 rows"):
        tables().select(np.array(indexes, np.int32))


@pytest.mark.parametrize(
    ("row", "change"),
    [
        (0, {"rows": [[1, 5, 65536], *ROWS[1:]]}),
        (0, {"rows": [[0, 5, 65535], *ROWS[1:]]}),
        (1, {"rows": [ROWS[0], [0, 1, 1, 65535, 65536], ROWS[2]]}),
        (1, {"rows": [ROWS[0], [0, 9, 2, 65535, 65536], ROWS[2]]}),
        (2, {"sizes": [3, 5, 1]}),
        (2, {"sizes": [3, 5, 3]}),
        (1, {"sizes": [3, 6, 2]}),
        (0, {"sizes": [-1, 5, 2]}),
        (1, {"offsets": [0, MAX_SYMBOL, 0]}),
        (2, {"offsets": [0, 0, -(2**31)]}),
    ],
)
def test_what_is_no_distribution_is_refused(row, change):
    with pytest.raises(CodecError, match=f"row {row} of an entropy table is no distribution"):
        tables(**change)


def test_a_length_and_an_offset_a_row():
    with pytest.raises(CodecError, match="3 rows with 2 lengths and 3 offsets"):
        tables(sizes=[3, 5])


def test_tables_are_kept_until_a_number_changes():
    module = GaussianConditional([0.11, 1.0, 30.0])
    module.update()
    first = tables_of(module)
    assert tables_of(module) is first
    module._quantized_cdf = module._quantized_cdf.clone()
    assert tables_of(module) is first
    module._quantized_cdf[1, 8] += 1
    second = tables_of(module)
    assert second is not first
    assert second.row(1)[8] == first.row(1)[8] + 1


def test_a_codecs_own_tables_pass():
    module = GaussianConditional([0.11, 1.0, 256.0])
    module.update()
    known = tables_of(module)
    assert isinstance(known, Tables)
    assert [len(known.row(i)) for i in range(3)] == module.cdf_length.tolist()
