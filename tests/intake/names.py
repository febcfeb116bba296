"""Names that no bundle may have, in whatever format it comes."""

from __future__ import annotations

NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "absolute path": (("/etc/cron.d/evil",), ("absolute",)),
    "absolute path with two slashes": (("//evil",), ("absolute",)),
    "parent folder": (("../evil",), ("'..'",)),
    "parents on the way": (("a/../../evil",), ("'..'",)),
    "parent that leads back in": (("a/../b",), ("'..'",)),
    "parent at the end": (("a/..",), ("'..'",)),
    "backslashes": (("a\\..\\evil",), ("backslash",)),
    "drive letter": (("C:/Windows/evil",), ("drive letter",)),
    "drive letter without a slash": (("c:evil",), ("drive letter",)),
    "drive letter on the way": (("a/C:/evil",), ("drive letter",)),
    "network path": (("\\\\server\\share\\evil",), ("backslash",)),
    "new line": (("a\nb",), ("control",)),
    "escape sequence": (("\x1b[31mred",), ("control",)),
    "delete character": (("a\x7fb",), ("control",)),
    "C1 control character": (("a\x85b",), ("control",)),
    "line separator": (("a\u2028b",), ("control",)),
    "right to left override": (("cod\u202efdp.exe",), ("bidirectional",)),
    "right to left isolate": (("a\u2067b",), ("bidirectional",)),
    "right to left mark": (("a\u200fb",), ("bidirectional",)),
    "Arabic letter mark": (("a\u061cb",), ("bidirectional",)),
    "part of 256 bytes": (("a" * 256,), ("too long",)),
    "part of 86 letters of 3 bytes": (("\u20ac" * 86,), ("too long",)),
    "path of 1100 bytes": (("/".join(["a" * 99] * 11),), ("too long",)),
    "path of 40 folders": (("/".join("a" * 40),), ("deep",)),
    "path of 30,000 folders": (("a/" * 30_000 + "b",), ("too long", "deep")),
    "one name twice": (("twice", "twice"), ("'twice'", "there twice")),
    "one name twice, spelt apart": (("a/twice", "a/./twice"), ("there twice",)),
    "two Dockerfiles": (("Dockerfile",), ("'Dockerfile'", "there twice")),
    "names apart only in case": (("Readme", "README"), ("only in case",)),
    "folders apart only in case": (("Src/a", "src/b"), ("only in case",)),
    "a Dockerfile in capitals beside it": (("DOCKERFILE",), ("only in case",)),
    "names apart only in composition": (("caf\u00e9", "cafe\u0301"), ("'cafe",)),
    "names apart only in folding": (("stra\u00dfe", "STRASSE"), ("only in case",)),
    "names apart only in folded accents": (("\u0390", "\u03aa\u0301"), ("how its letters are encoded",)),
    "file that is a folder too": (("both", "both/inside"), ("both as a file and as a folder",)),
    "folder that is a file too": (("both/inside", "both"), ("both as a file and as a folder",)),
}
"""By what is wrong: the names of entries, and words of the reason."""

ZIP_ONLY: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "empty name": (("",), ("empty",)),
    "name of a dot": ((".",), ("empty",)),
    "NUL in the name": (("a\0b",), ("control",)),
    "half a character": (("a\ud800b",), ("bundle",)),
}
"""Names that a tar cannot have, or says otherwise."""
