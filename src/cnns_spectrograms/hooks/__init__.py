"""The project's Kedro hooks, one class a file: see `settings`; MLflow's is in `tracking`."""
