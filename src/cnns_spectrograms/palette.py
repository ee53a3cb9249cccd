"""The colours of the beat classes: the same in every figure, report and page."""

from __future__ import annotations

# From Okabe and Ito's Color Universal Design palette (2008), which people with any common form of
# colour blindness tell apart. S, F and Q are darker than there, for 3:1 against white and against
# ECG paper.
CLASS_COLORS: dict[str, str] = {
    "N": "#0072B2",
    "S": "#B87700",
    "V": "#D55E00",
    "F": "#B85C93",
    "Q": "#007A5A",
}

CLASS_COLORS_ON_DARK: dict[str, str] = {
    "N": "#56B4E9",
    "S": "#E69F00",
    "V": "#FF7F2A",
    "F": "#E39BC4",
    "Q": "#2FC59B",
}
