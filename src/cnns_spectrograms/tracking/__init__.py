"""Runs and models in MLflow: the Kedro hook, where runs are tracked, models logged and served."""
