"""The route and the receiver to write into `alertmanager.yml`, ready to paste (facts: intake 1.7)."""

_ALERTMANAGER = """\
route:
  routes:
    - receiver: {receiver}          # first, and `continue`: the routes below get the same alerts as before
      continue: true                # the root's receiver gets what no route matches: give it a last route of its own
      group_by: [alertname, cluster, service]
      group_wait: 5s
      group_interval: 1m
      repeat_interval: 1h
receivers:
  - name: {receiver}
    webhook_configs:
      - url: {url}/webhooks/alertmanager
        send_resolved: true
        max_alerts: 0
        timeout: 10s                # Alertmanager 0.28 or later
        http_config:
          follow_redirects: false
          authorization:
            credentials_file: /etc/alertmanager/remediator-token
"""


def recommended(receiver: str, url: str) -> str:
    """`url` is what the sender reaches us by."""
    return _ALERTMANAGER.format(receiver=receiver, url=url.rstrip("/"))
