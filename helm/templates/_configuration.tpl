{{/* The settings file: the chart's own facts win, since the pod is built around them. */}}
{{- define "remediator.settings" -}}
{{- $url := printf "http://%s.%s.svc:%v" (include "remediator.fullname" .) .Release.Namespace .Values.service.port -}}
{{- $fixed := dict
      "host" "0.0.0.0"
      "port" 8080
      "data_dir" "/var/lib/remediator"
      "rules_dir" "/etc/remediator/rules"
      "kubernetes" (dict "enabled" true)
      "public_url" (default $url .Values.settings.public_url) -}}
{{- merge $fixed .Values.settings | toYaml -}}
{{- end -}}

{{/* Path -> content of every rule file, as JSON: toYaml would trim the last newline. */}}
{{- define "remediator.ruleFiles" -}}
{{- $files := dict -}}
{{- if .Values.rules.shipped -}}
{{- range $path, $_ := .Files.Glob "rules/**" -}}
{{- if hasSuffix ".yaml" $path -}}
{{- $_ := set $files (trimPrefix "rules/" $path) ($.Files.Get $path) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $path, $content := .Values.rules.files -}}
{{- $_ := set $files $path $content -}}
{{- end -}}
{{- if not $files -}}
{{- fail "no rules: set rules.shipped, rules.files or rules.existingConfigMap" -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{/* A ConfigMap key holds no slash: oncall/people.yaml is kept as oncall..people.yaml and mounted at its path. */}}
{{- define "remediator.ruleKey" -}}
{{- . | replace "/" ".." -}}
{{- end -}}
