"""The project's Kedro hooks, one class per file: see `settings`; MLflow's is in `tracking`."""
