{{/* What the shipped rules read: `remediator rbac` prints it for yours. A test holds both lists to what the rules declare. */}}
{{- define "remediator.reads" -}}
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
- apiGroups: [metrics.k8s.io]
  resources: [pods]
  verbs: [list]
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
