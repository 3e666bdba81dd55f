"""The control plane: placement, fill, plan store, the jobs, the report and the command line."""
