"""Files sealed with a passphrase: what comes out is what went in, or nothing does."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import sealed_file
from appliance.sealed_file import MAGIC, PIECE_BYTES, SALT_BYTES, SealedFileError, SealedReader, SealedWriter

PASSPHRASE = "a stone circle at dawn"
HEAD_BYTES = len(MAGIC) + SALT_BYTES


@pytest.fixture(autouse=True, scope="module")
def quick_guesses() -> object:
    """The strength of the key is not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealed_file, "SCRYPT_N", 2)
        yield


def sealed(*parts: bytes) -> bytes:
    stream = io.BytesIO()
    writer = SealedWriter(stream, PASSPHRASE)
    for part in parts:
        writer.write(part)
    writer.finish()
    return stream.getvalue()


def opened(content: bytes, passphrase: str = PASSPHRASE) -> bytes:
    return io.BufferedReader(SealedReader(io.BytesIO(content), passphrase)).read()


@given(st.lists(st.binary(max_size=300), max_size=5), st.sampled_from([0, 1, PIECE_BYTES - 1, PIECE_BYTES, 2**21 + 7]))
def test_what_was_written_is_read(parts: list[bytes], more: int) -> None:
    parts = [*parts, b"x" * more]
    assert opened(sealed(*parts)) == b"".join(parts)


def test_the_same_content_is_sealed_differently_each_time() -> None:
    assert sealed(b"the same")[HEAD_BYTES:] != sealed(b"the same")[HEAD_BYTES:]


@settings(max_examples=200)
@given(st.data())
def test_a_changed_byte_gives_out_nothing_of_its_piece(data: st.DataObject) -> None:
    content = sealed(b"a" * PIECE_BYTES, b"b" * 100)
    at = data.draw(st.integers(0, len(content) - 1))
    changed = content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
    with pytest.raises(SealedFileError):
        opened(changed)


@given(st.data())
def test_a_cut_or_lengthened_file_is_refused(data: st.DataObject) -> None:
    content = sealed(b"a" * PIECE_BYTES, b"b" * 100)
    with pytest.raises(SealedFileError):
        opened(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(SealedFileError):
        opened(content + data.draw(st.binary(min_size=1, max_size=9)))


def test_pieces_that_change_places_or_are_left_out_are_refused() -> None:
    content = sealed(b"a" * PIECE_BYTES, b"b" * PIECE_BYTES, b"c")
    frame = 5 + PIECE_BYTES + 16
    head, first, second, last = (
        content[:HEAD_BYTES],
        content[HEAD_BYTES : HEAD_BYTES + frame],
        content[HEAD_BYTES + frame : HEAD_BYTES + 2 * frame],
        content[HEAD_BYTES + 2 * frame :],
    )
    assert opened(head + first + second + last)
    for wrong in (head + second + first + last, head + first + last, head + first + first + last):
        with pytest.raises(SealedFileError):
            opened(wrong)
    marked_last = b"\x01" + second[1:]
    with pytest.raises(SealedFileError):
        opened(head + first + marked_last)


def test_another_passphrase_is_named_as_what_is_wrong() -> None:
    with pytest.raises(sealed_file.WrongPassphrase, match="passphrase"):
        opened(sealed(b"content"), "a stone circle at dusk")
