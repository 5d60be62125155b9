"""A second opinion on scoring: every metric from raw events, written from the definitions alone.

Plain Python that keeps everything in lists and shares no code with the service; intervals come from statsmodels
and scipy. Times are whole microseconds since 1970, durations whole milliseconds.
"""
