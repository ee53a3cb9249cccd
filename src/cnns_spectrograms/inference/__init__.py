"""From a recording to classified beats: the trained model, the analysis, and what it writes."""
