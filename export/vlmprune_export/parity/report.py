"""Reports what a check has measured, and whether it is within the limits."""

from dataclasses import asdict, dataclass
from typing import Any

from vlmprune_export.parity.candidates import ENGINE
from vlmprune_export.parity.limits import Limits
from vlmprune_export.parity.overlap import Overlap
from vlmprune_export.parity.stage_differences import Difference
from vlmprune_export.parity.token_agreement import Agreement
from vlmprune_runtime.errors import ParityError


@dataclass(frozen=True)
class CheckReport:
    """What was measured and what was allowed, by which method and what that shows.

    `device` is the same for Core ML itself, where this is the reference's and the system has Core ML.
    """

    differences: tuple[Difference, ...]
    agreements: tuple[Agreement, ...]
    limits: Limits
    method: str = ENGINE
    shows: str | None = None
    kept: Overlap | None = None
    device: "CheckReport | None" = None

    def failures(self) -> list[ParityError]:
        """Returns everything past its limit; none means that the bundle is sound."""
        return [*self._stage_failures(), *self._answer_failures(), *(self.device.failures() if self.device else ())]

    def as_json(self) -> dict[str, Any]:
        """Returns plain data, as `--json` prints it and `bundle.json` keeps it."""
        failures = [str(failure) for failure in self.failures()]
        return {"passed": not failures, "failures": failures, **asdict(self)}

    def _stage_failures(self) -> list[ParityError]:
        failures = []
        for gap in self.differences:
            what = f"{gap.stage}: {gap.output}"
            if gap.equal is False:
                failures.append(ParityError(f"{what} is not equal", 1.0, 0.0))
            elif gap.relative > self.limits.relative:
                failures.append(ParityError(what, gap.relative, self.limits.relative))
        return failures

    def _answer_failures(self) -> list[ParityError]:
        failures = []
        for answer in self.agreements:
            if answer.tokens_fraction < self.limits.tokens_fraction:
                failures.append(
                    ParityError(f"tokens, {answer.mode}", answer.tokens_fraction, self.limits.tokens_fraction)
                )
            if answer.overlap_fraction < self.limits.overlap_fraction:
                failures.append(
                    ParityError(f"kept overlap, {answer.mode}", answer.overlap_fraction, self.limits.overlap_fraction)
                )
        return failures
