{{/* What the shipped rules read; for others there are rbac.extraRules and `remediator rbac`. A test holds both lists to what
     the rules declare. */}}
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

{{/* The namespaces that the rule files' matchers name, as JSON. */}}
{{- define "remediator.namespacesOfRules" -}}
{{- $places := list -}}
{{- range $_, $content := include "remediator.ruleFiles" . | fromJson -}}
{{- range regexFindAll `\bnamespace="[^"]+"` $content -1 -}}
{{- $places = append $places (. | trimPrefix "namespace=" | trimAll `"`) -}}
{{- end -}}
{{- end -}}
{{- $places | uniq | sortAlpha | toJson -}}
{{- end -}}
