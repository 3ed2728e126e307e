"""What scripts/deploy, scripts/undeploy and scripts/adapter-certificate are made of. Needs nothing but Python and kubectl."""
