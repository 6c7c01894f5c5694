# The part of google-re2 1.1 that remediator.language.pattern uses; the package ships no types.

class error(Exception): ...  # noqa: N801

class Options:
    max_mem: int
    log_errors: bool

class _Match: ...

class _Regexp:
    def fullmatch(self, text: str | bytes) -> _Match | None: ...

def compile(pattern: str | bytes, options: Options | None = None) -> _Regexp: ...  # noqa: A001

class Set:
    @classmethod
    def FullMatchSet(cls, options: Options | None = None) -> Set: ...  # noqa: N802
    def Add(self, pattern: str | bytes) -> int: ...  # noqa: N802
    def Compile(self) -> None: ...  # noqa: N802
    def Match(self, text: str | bytes) -> list[int] | None: ...  # noqa: N802
