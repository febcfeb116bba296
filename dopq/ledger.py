"""The ledger: every user's account, charged from the begin of a lease to the end of its process.

In memory and without a clock; the journal keeps each account beside the change that moved it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from dopq.job import Ended, Job, Lease, Occupying, State, UserName, is_our_fault, lease_of
from dopq.penalty import Account, charge_rate, penalty, refunded, usage_at, with_rate


class Ledger:
    """What everybody has used. Not thread-safe: its one owner has a lock.

    Args:
        half_life_s: seconds after which used GPU time counts half.
        cpu_job_rate: GPUs charged for a job that uses none.
    """

    def __init__(self, accounts: Mapping[UserName, Account], half_life_s: float, cpu_job_rate: float) -> None:
        self._accounts = dict(accounts)
        self._half_life_s = half_life_s
        self._cpu_job_rate = cpu_job_rate

    @property
    def accounts(self) -> dict[UserName, Account]:
        """Every account as it was last changed."""
        return dict(self._accounts)

    def usage(self, now: datetime) -> dict[UserName, float]:
        """Decayed GPU-seconds of every user with an account, running jobs counted live."""
        return {user: usage_at(account, now.timestamp(), self._half_life_s) for user, account in self._accounts.items()}

    def faded(self, account: Account, now_s: float) -> float:
        """What an account that is not kept here amounts to at `now_s`."""
        return usage_at(account, now_s, self._half_life_s)

    def penalties(self, weights: Mapping[UserName, float], now: datetime) -> dict[UserName, float]:
        """The penalty of every user with an account; one who is not registered any more has weight 1."""
        return {user: penalty(usage, weights.get(user, 1.0)) for user, usage in self.usage(now).items()}

    def after(self, old: Job, new: Job, leased: Iterable[Job], now: datetime) -> Account | None:
        """The user's account once `old` has become `new`; None where that neither begins, ends nor refunds a lease.

        `leased`: all jobs that hold a lease before the change.
        """
        given_back = _given_back(old.state, new.state)
        if lease_of(old.state) == lease_of(new.state) and given_back is None:
            return None
        # Summed anew, not added to: rounding may not stay in an account for ever.
        others = [job for job in leased if job.user == new.user and job.id != new.id]
        rate = sum(self._rate(job.state) for job in [*others, new])
        known = self._accounts.get(new.user, Account())
        account = with_rate(known, rate, now.timestamp(), self._half_life_s)
        if isinstance(old.state, Occupying) and given_back:
            since, until = given_back
            until_s = until.timestamp() if until else account.as_of
            account = refunded(account, self.rate_of(old.state.lease), since.timestamp(), until_s, self._half_life_s)
        return account

    def put(self, user: UserName, account: Account) -> None:
        """Replace an account, after the journal has it."""
        self._accounts[user] = account

    def rate_of(self, lease: Lease) -> float:
        """GPUs that are charged for a lease: what its begin settled, whatever the settings say by now."""
        return self.rate_for(len(lease.gpus)) if lease.rate is None else lease.rate

    def rate_for(self, gpus: float) -> float:
        """GPUs to charge for a job whose own count as so many, by the settings of now."""
        return charge_rate(gpus, self._cpu_job_rate)

    def _rate(self, state: State) -> float:
        lease = lease_of(state)
        return self.rate_of(lease) if lease else 0.0


def _given_back(old: State, new: State) -> tuple[datetime, datetime | None] | None:
    """From when until when (None: until now) a lease is not charged after all, with this change; None for never."""
    if not isinstance(old, Occupying) or isinstance(new, Occupying):
        return None
    if not isinstance(new, Ended) or is_our_fault(new.reason):
        return old.lease.since, old.lease.ended_at
    return None if old.lease.ended_at else (new.at, None)  # its process ended before we came to know
