"""How arrivals spread over the day: a curve in local time, turned to UTC quarters of an hour."""

import datetime as dt
import zoneinfo

import numpy as np

from topology.errors import InputError, Problem

EVENING = 1 + 0.6 * np.cos(2 * np.pi * (np.arange(24) + 0.5 - 21.0) / 24)
"""A plain cosine, (24,): busiest at 21:00 and quietest at 09:00 local time, 1.6 times its mean at the top. It stands in where no measured curve is
given; :class:`demand.laws.Laws` holds one."""
EVENING.setflags(write=False)

QUARTERS = 96


def quarter_hour_weights(timezones: np.ndarray, date: dt.date, hourly_profile: np.ndarray) -> np.ndarray:
    """The curve of each region in UTC.

    A UTC quarter of an hour takes the weight of the local hour it lies in, so zones with half-hour offsets and the days when clocks change come
    out right (every offset in use today is a multiple of 15 minutes).

    Parameters
    ----------
    timezones
        (R,) IANA names.
    hourly_profile
        (24,) float, >= 0.

    Returns
    -------
    (R, 96) float: relative rate of arrivals in each UTC quarter of an hour.

    Raises
    ------
    InputError
        If the profile is not 24 numbers >= 0 with a positive sum.
    """
    profile = np.asarray(hourly_profile, float)
    if profile.shape != (24,) or not np.isfinite(profile).all() or (profile < 0).any() or profile.sum() <= 0:
        raise InputError(
            Problem(
                table="settings",
                column="hourly_profile",
                message="not 24 numbers >= 0",
                mend="give one number a local hour, not all 0",
            )
        )
    hours, _ = local_quarters(timezones, date)
    weights: np.ndarray = profile[hours]
    return weights


def peak_slices(timezones: np.ndarray, slices: int, hourly_profile: np.ndarray) -> np.ndarray:
    """What part of its busiest hour's rate each region reaches in each slice of the day, UTC.

    Parameters
    ----------
    timezones
        (R,) IANA names.
    slices
        T, a divisor of 96: the day in so many equal parts from 00:00 UTC.
    hourly_profile
        (24,) float, >= 0.

    Returns
    -------
    (R, T) float, 0 to 1: the most within the slice, in January or in July; the most of all slices is 1. With one slice, ones.
    """
    year = 2026  # any: what counts is that clocks are as in winter, then as in summer
    curves = [quarter_hour_weights(timezones, dt.date(year, month, 15), hourly_profile) for month in (1, 7)]
    most = np.maximum(*curves).reshape(len(timezones), slices, -1).max(axis=2)
    return np.asarray(most / most.max(axis=1, keepdims=True))


def local_quarters(timezones: np.ndarray, date: dt.date) -> tuple[np.ndarray, np.ndarray]:
    """What the clocks of the regions show in each UTC quarter of an hour of a date.

    Parameters
    ----------
    timezones
        (R,) IANA names.

    Returns
    -------
    (R, 96) int: the local hour, 0 to 23, and the local weekday, Monday 0.
    """
    names, region_of = np.unique(np.asarray(timezones, str), return_inverse=True)
    midnight = dt.datetime.combine(date, dt.time(), dt.UTC)
    moments = [midnight + dt.timedelta(minutes=15 * q) for q in range(QUARTERS)]
    shown = np.array([_clock(name, moments) for name in names.tolist()], np.int64).reshape(-1, 2, QUARTERS)[region_of]
    return shown[:, 0], shown[:, 1]


def _clock(name: str, moments: list[dt.datetime]) -> tuple[np.ndarray, np.ndarray]:
    """Local hours and weekdays of quarters of an hour that follow each other within a day or so.

    Where the offset is the same at both ends it is the same between them, for no zone changes it twice in a day.
    """
    zone = zoneinfo.ZoneInfo(name)
    first, last = moments[0].astimezone(zone), moments[-1].astimezone(zone)
    if first.utcoffset() != last.utcoffset():
        clocks = [moment.astimezone(zone) for moment in moments]
        return np.array([clock.hour for clock in clocks]), np.array([clock.weekday() for clock in clocks])
    minute = first.hour * 60 + first.minute + 15 * np.arange(len(moments))
    return minute // 60 % 24, (first.weekday() + minute // 1440) % 7
