"""The route and the receiver to write into `alertmanager.yml`, or to give to Grafana (facts: intake 1.7)."""

from remediator.senders.contact_points import SIGNATURE_HEADER

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

_GRAFANA = """\
# A file of its own in provisioning/alerting/, or the same by hand: Alerting, Contact points, Integration Webhook.
apiVersion: 1
contactPoints:
  - orgId: 1
    name: {receiver}
    receivers:
      - uid: {receiver}
        type: webhook
        disableResolveMessage: false
        settings:
          url: {url}/webhooks/grafana
          maxAlerts: "0"
          authorization_scheme: Bearer
          authorization_credentials: $REMEDIATOR_TOKEN    # one of REMEDIATOR_WEBHOOKS__TOKENS
          # From Grafana 12 on, instead of the two lines above, a signature (settings: webhooks, grafana):
          # hmacConfig:
          #   secret: $REMEDIATOR_SECRET
          #   header: {signature_header}
          #   timestampHeader: {timestamp_header}    # without it every delivery is refused
# Notification policies. Mind that a file with `policies` replaces the whole tree: add to it the policies that you have.
policies:
  - orgId: 1
    receiver: grafana-default-email
    group_by: [grafana_folder, alertname]
    routes:
      - receiver: {receiver}          # first, and `continue`: the policies below get the same alerts as before
        continue: true                # the root's receiver gets what no policy matches: give it a last one of its own
        group_by: [alertname, cluster, service]
        group_wait: 5s
        group_interval: 1m
        repeat_interval: 1h
"""


def recommended(receiver: str, url: str) -> str:
    """`url` is what the sender reaches us by."""
    return _ALERTMANAGER.format(receiver=receiver, url=url.rstrip("/"))


def recommended_for_grafana(receiver: str, url: str, *, timestamp_header: str) -> str:
    """As files for its provisioning have it. `timestamp_header`: where our settings look for a signature's."""
    return _GRAFANA.format(
        receiver=receiver, url=url.rstrip("/"), signature_header=SIGNATURE_HEADER, timestamp_header=timestamp_header
    )
