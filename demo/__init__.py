"""The main job on a simulated platform: everything is real but the cluster, Prometheus and Alertmanager's side."""
