{{/* The Secret that holds DATABASE_URL; empty: there is none. `database.url: null` takes the whole key away. */}}
{{- define "remediator.databaseSecret" -}}
{{- default "" (.Values.database.url).secret -}}
{{- end -}}

{{/* "yes" where the daemon starts a PostgreSQL of its own, in its data folder. */}}
{{- define "remediator.embedded" -}}
{{- if not (or (include "remediator.databaseSecret" .) (hasKey (default dict .Values.secretFiles) "database_url")) -}}
yes
{{- end -}}
{{- end -}}
