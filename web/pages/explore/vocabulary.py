"""The functions and aggregations of PromQL, each with how it is called and what it gives, for people who write one.

A test holds this table against the functions that the engine evaluates, so that none is missing and none is invented.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# family: rows of (how it is called, what it gives); v is a vector, m a range such as `requests_total[5m]`, s a number.
FAMILIES: dict[str, tuple[tuple[str, str], ...]] = {
    "Counters and change": (
        ("rate(m)", "How fast a counter rises, per second, averaged over the range; restarts to zero are made good."),
        ("irate(m)", "How fast a counter rises, per second, between the last two samples of the range alone."),
        ("increase(m)", "By how much a counter has risen in the range; restarts to zero are made good."),
        ("resets(m)", "How often a counter has fallen, that is, has begun anew, in the range."),
        ("delta(m)", "The difference between the end and the start of the range, for a gauge."),
        ("idelta(m)", "The difference between the last two samples of the range, for a gauge."),
        ("deriv(m)", "The slope of a gauge, per second, by a straight line laid through the samples of the range."),
        ("predict_linear(m, s)", "What a gauge will be in s seconds, by a straight line laid through the range."),
        ("changes(m)", "How often the value has changed in the range."),
        (
            "double_exponential_smoothing(m, s, s)",
            "A gauge made smooth: the first number weighs new values, the second one the trend; both from 0 to 1.",
        ),
    ),
    "Over the samples of a range": (
        ("avg_over_time(m)", "The mean of the samples of each series in the range."),
        ("min_over_time(m)", "The smallest sample of each series in the range."),
        ("max_over_time(m)", "The largest sample of each series in the range."),
        ("sum_over_time(m)", "The sum of the samples of each series in the range."),
        ("count_over_time(m)", "How many samples each series has in the range."),
        ("quantile_over_time(s, m)", "The s-quantile, s from 0 to 1, of the samples of each series in the range."),
        ("stddev_over_time(m)", "The standard deviation of the samples of each series in the range."),
        ("stdvar_over_time(m)", "The variance of the samples of each series in the range."),
        ("mad_over_time(m)", "The median distance of the samples from their median: a spread that outliers leave be."),
        ("first_over_time(m)", "The oldest sample of each series in the range."),
        ("last_over_time(m)", "The newest sample of each series in the range."),
        ("present_over_time(m)", "1 for each series that has any sample in the range."),
        ("absent_over_time(m)", "1 if no series at all has a sample in the range, else nothing; good for alerts."),
        ("ts_of_first_over_time(m)", "When the oldest sample in the range was taken, in seconds since 1970."),
        ("ts_of_last_over_time(m)", "When the newest sample in the range was taken, in seconds since 1970."),
        ("ts_of_min_over_time(m)", "When the smallest value in the range was seen last, in seconds since 1970."),
        ("ts_of_max_over_time(m)", "When the largest value in the range was seen last, in seconds since 1970."),
    ),
    "Aggregations over series": (
        ("sum by (…) (v)", "The sum over series, one for each combination of the labels that are named."),
        ("avg by (…) (v)", "The mean over series."),
        ("min by (…) (v)", "The smallest value among the series."),
        ("max by (…) (v)", "The largest value among the series."),
        ("count by (…) (v)", "How many series there are."),
        ("group by (…) (v)", "1 for each combination of labels that exists; the values do not matter."),
        ("stddev by (…) (v)", "The standard deviation over series."),
        ("stdvar by (…) (v)", "The variance over series."),
        ("quantile by (…) (s, v)", "The s-quantile, s from 0 to 1, over series."),
        ("topk by (…) (s, v)", "The s series with the largest values, with all their labels."),
        ("bottomk by (…) (s, v)", "The s series with the smallest values, with all their labels."),
        ("limitk by (…) (s, v)", "Any s of the series, always the same ones: a sample of many."),
        ("limit_ratio by (…) (s, v)", "The share s of the series, from 0 to 1; -0.3 gives those that 0.7 leaves out."),
        ('count_values by (…) ("name", v)', "How many series have each value; the value stands in the label named."),
    ),
    "Histograms": (
        ("histogram_quantile(s, v)", "The s-quantile, s from 0 to 1, of a histogram, from its buckets with label le."),
        (
            'histogram_quantiles(v, "name", s, …)',
            "Several quantiles of a histogram at once, told apart by the label named.",
        ),
        ("histogram_fraction(s, s, v)", "The share of what a histogram counted that lies between the two numbers."),
        ("histogram_avg(v)", "The mean of native histograms. Henge keeps none of them, so the answer is empty."),
        ("histogram_count(v)", "The count of native histograms. Henge keeps none of them, so the answer is empty."),
        ("histogram_sum(v)", "The sum of native histograms. Henge keeps none of them, so the answer is empty."),
        ("histogram_stddev(v)", "The deviation of native histograms. Henge keeps none, so the answer is empty."),
        ("histogram_stdvar(v)", "The variance of native histograms. Henge keeps none, so the answer is empty."),
    ),
    "Rounding and limits": (
        ("abs(v)", "Each value without its sign."),
        ("ceil(v)", "Each value rounded up to a whole number."),
        ("floor(v)", "Each value rounded down to a whole number."),
        ("round(v, s)", "Each value rounded to the nearest multiple of s; without s, to a whole number."),
        ("sgn(v)", "1 for values above zero, -1 for those below, 0 for zero."),
        ("clamp(v, s, s)", "Each value kept between the two numbers."),
        ("clamp_min(v, s)", "Each value, but never less than s."),
        ("clamp_max(v, s)", "Each value, but never more than s."),
        ("min_of(s, s)", "The smaller of two numbers."),
        ("max_of(s, s)", "The larger of two numbers."),
    ),
    "Roots, powers and logarithms": (
        ("sqrt(v)", "The square root of each value."),
        ("exp(v)", "e to the power of each value."),
        ("ln(v)", "The natural logarithm of each value."),
        ("log2(v)", "The logarithm of each value to base 2."),
        ("log10(v)", "The logarithm of each value to base 10."),
    ),
    "Labels and order": (
        (
            'label_replace(v, "to", "text", "from", "regex")',
            "Sets label “to” where label “from” matches the regex; $1 in the text is its first group.",
        ),
        ('label_join(v, "to", "sep", "from", …)', "Sets label “to” to the values of other labels, joined by “sep”."),
        ("info(v, {…})", "Adds the labels of info metrics, such as target_info, of the same job and instance."),
        ("sort(v)", "The series in the order of their values, smallest first; at one time only."),
        ("sort_desc(v)", "The series in the order of their values, largest first; at one time only."),
        ('sort_by_label(v, "name", …)', "The series in the order of the labels named, numbers as numbers."),
        ('sort_by_label_desc(v, "name", …)', "The same in the opposite order."),
        ("absent(v)", "1 if there is no series, else nothing; good for alerts."),
        ("scalar(v)", "The value of the only series as a plain number; NaN if there are several or none."),
        ("vector(s)", "A plain number as a series without labels."),
    ),
    "Time and calendar, in UTC": (
        ("time()", "The time of the evaluation, in seconds since 1970."),
        ("timestamp(v)", "When each sample was taken, in seconds since 1970."),
        ("minute(v)", "The minute of the hour, 0 to 59, of times in seconds; without v, of the evaluation."),
        ("hour(v)", "The hour of the day, 0 to 23."),
        ("day_of_week(v)", "The day of the week, 0 to 6; 0 is Sunday."),
        ("day_of_month(v)", "The day of the month, 1 to 31."),
        ("day_of_year(v)", "The day of the year, 1 to 366."),
        ("days_in_month(v)", "How many days the month has, 28 to 31."),
        ("month(v)", "The month, 1 to 12."),
        ("year(v)", "The year."),
        ("start()", "Where the range of the chart begins, in seconds since 1970."),
        ("end()", "Where the range of the chart ends, in seconds since 1970."),
        ("range()", "How long the range of the chart is, in seconds."),
        ("step()", "How far two points of the chart are apart, in seconds."),
    ),
    "Angles": (
        ("pi()", "The number π."),
        ("deg(v)", "Radians as degrees."),
        ("rad(v)", "Degrees as radians."),
        ("sin(v)", "The sine of each value, in radians."),
        ("cos(v)", "The cosine of each value, in radians."),
        ("tan(v)", "The tangent of each value, in radians."),
        ("asin(v)", "The angle, in radians, whose sine is the value."),
        ("acos(v)", "The angle, in radians, whose cosine is the value."),
        ("atan(v)", "The angle, in radians, whose tangent is the value."),
        ("sinh(v)", "The hyperbolic sine of each value."),
        ("cosh(v)", "The hyperbolic cosine of each value."),
        ("tanh(v)", "The hyperbolic tangent of each value."),
        ("asinh(v)", "The inverse hyperbolic sine of each value."),
        ("acosh(v)", "The inverse hyperbolic cosine of each value."),
        ("atanh(v)", "The inverse hyperbolic tangent of each value."),
    ),
}


@dataclass(frozen=True, slots=True)
class Word:
    """One function or aggregation."""

    name: str
    usage: str
    sentence: str
    family: str


def _words() -> dict[str, Word]:
    words = {}
    for family, rows in FAMILIES.items():
        for usage, sentence in rows:
            name = usage.partition("(")[0].partition(" ")[0]
            assert name not in words, name
            words[name] = Word(name, usage, sentence, family)
    return words


WORDS: dict[str, Word] = _words()

# A name that is called or grouped. Texts and comments are tried first, so that what stands in them is no name.
_CALLED = re.compile(
    r"""#[^\n]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`|(?<![\w:.])(?P<name>[a-z][a-z_0-9]*)(?=\s*(?:\(|by\b|without\b))"""
)


def used_in(expression: str) -> list[Word]:
    """The functions that an expression calls, in their order, each once."""
    names = dict.fromkeys(found["name"] for found in _CALLED.finditer(expression))
    return [WORDS[name] for name in names if name in WORDS]
