{{/* What diagnostics and checks read. tests/helm compares both lists with what the shipped rules declare. */}}
{{- define "remediator.reads" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [apps]
  resources: [deployments, replicasets]
  verbs: [get, list]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [get]
- apiGroups: [metrics.k8s.io]
  resources: [pods]
  verbs: [get, list]
{{- end -}}

{{/* What fixes write. A dry run is authorized like the write itself. */}}
{{- define "remediator.writes" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [delete]
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
- apiGroups: [apps]
  resources: [deployments, deployments/scale]
  verbs: [patch]
{{- end -}}

{{- define "remediator.mayWrite" -}}
{{- if or (eq .Values.rbac.writes "always") (and (eq .Values.rbac.writes "by-mode") (ne .Values.settings.mode "observe")) -}}
yes
{{- end -}}
{{- end -}}
