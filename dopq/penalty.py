"""What everybody really used: decayed GPU-seconds, and the penalty that orders users by it.

Pure: values and functions of time; no clock, no I/O. Times are seconds since the epoch, rates are GPUs.

While a user holds `rate` GPUs, usage u follows du/dt = rate - u ln2 / h with the half-life h, hence in closed form

    u(t + d) = u(t) 2^(-d/h) + rate h/ln2 (1 - 2^(-d/h))

so an account needs touching only when its rate changes: O(1) per event, however long the history.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

_LN2 = math.log(2)


@dataclass(frozen=True, slots=True)
class Account:
    """The usage of one user.

    Attributes:
        usage: decayed GPU-seconds as of `as_of`.
        as_of: seconds since the epoch.
        rate: GPUs that are being charged from `as_of` on; never negative.
    """

    usage: float = 0.0
    as_of: float = 0.0
    rate: float = 0.0


def usage_at(account: Account, now_s: float, half_life_s: float) -> float:
    """Decayed GPU-seconds at `now_s`, running jobs counted live.

    A clock that stepped back charges nothing and forgives nothing: the account stands still until it has caught up.
    """
    elapsed = max(0.0, now_s - account.as_of)
    kept = math.exp2(-elapsed / half_life_s)
    # -expm1(-x) is 1 - e^-x without the cancellation that would lose the first seconds of a long half-life.
    gained = -math.expm1(-elapsed * _LN2 / half_life_s) * half_life_s / _LN2
    return account.usage * kept + account.rate * gained


def with_rate(account: Account, rate: float, now_s: float, half_life_s: float) -> Account:
    """The account after its user began to hold `rate` GPUs in all."""
    return Account(usage=usage_at(account, now_s, half_life_s), as_of=max(now_s, account.as_of), rate=rate)


def refunded(account: Account, rate: float, since_s: float, until_s: float, half_life_s: float) -> Account:
    """The account without what it was charged at `rate` from `since_s` to `until_s`."""
    too_much = usage_at(Account(as_of=since_s, rate=rate), until_s, half_life_s)
    faded = usage_at(Account(usage=too_much, as_of=until_s), account.as_of, half_life_s)
    return replace(account, usage=max(0.0, account.usage - faded))


def charge_rate(gpus: float, cpu_job_rate: float) -> float:
    """GPUs to charge for a job: as many as its own count, or the small rate of a job that runs on the CPU alone."""
    return float(gpus) if gpus else cpu_job_rate


def penalty(usage_gpu_s: float, weight: float) -> float:
    """Usage divided by the user's share weight (> 0). The smallest penalty goes first."""
    return usage_gpu_s / weight


def committed(rate: float, left_s: float, half_life_s: float) -> float:
    """GPU-seconds that a running job is expected to use yet: the further ahead, the less they count, as with the past.

    They count in the order, not in the account: without them a user whose jobs have just begun looks as if they had
    got nothing, and gets the next GPUs, too. Halved for each half-life ahead they are bounded, so that whoever names no
    limit is not taken at its word.
    """
    return usage_at(Account(rate=rate), max(0.0, left_s), half_life_s)
