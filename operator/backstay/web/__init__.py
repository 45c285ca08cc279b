"""What people and Alertmanager reach of the operator by HTTP."""
