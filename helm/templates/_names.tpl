{{- define "remediator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Our Service has this name: a letter first, no dots. Releases may be called 1st or a.b. */}}
{{- define "remediator.fullname" -}}
{{- $name := include "remediator.name" . -}}
{{- $ours := printf "%s-%s" .Release.Name $name -}}
{{- if contains $name .Release.Name -}}
{{- $ours = .Release.Name -}}
{{- end -}}
{{- $ours = regexReplaceAll "^([0-9])" (replace "." "-" $ours) "r${1}" -}}
{{- regexReplaceAll "-+$" (default $ours .Values.fullnameOverride | trunc 52) "" -}}
{{- end -}}

{{- define "remediator.selector" -}}
app.kubernetes.io/name: {{ include "remediator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "remediator.labels" -}}
{{ include "remediator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* What every object of ours starts with, where it lies in the release's namespace. */}}
{{- define "remediator.metadata" -}}
name: {{ include "remediator.fullname" . | quote }}
namespace: {{ .Release.Namespace | quote }}
labels:
  {{- include "remediator.labels" . | nindent 2 }}
{{- end -}}

{{- define "remediator.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "remediator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "remediator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}
