{{- define "bancheck.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "bancheck.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "bancheck.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "bancheck.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "bancheck.selector" -}}
app.kubernetes.io/name: {{ include "bancheck.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "bancheck.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "bancheck.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "bancheck.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "bancheck.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "bancheck.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* "yes" where bans are kept in Postgres. */}}
{{- define "bancheck.onPostgres" -}}
{{- if .Values.database.existingSecret }}yes{{ end }}
{{- end }}

{{/* Stops what would not run, or would lose bans, with the words that mend it. */}}
{{- define "bancheck.judge" -}}
{{- $postgres := include "bancheck.onPostgres" . }}
{{- if not $postgres }}
{{- if gt (int .Values.replicaCount) 1 }}
{{- fail "replicaCount above 1 needs Postgres: set database.existingSecret and masterKey.existingSecret (pods on embedded SQLite would not know each other's bans)" }}
{{- end }}
{{- if .Values.autoscaling.enabled }}
{{- fail "autoscaling.enabled needs Postgres: set database.existingSecret and masterKey.existingSecret" }}
{{- end }}
{{- if .Values.podDisruptionBudget.enabled }}
{{- fail "podDisruptionBudget.enabled needs Postgres: with one pod on embedded SQLite it would only block node drains" }}
{{- end }}
{{- else if not .Values.insecureAllowAnonymous }}
{{- fail "callers are not asked who they are, so without insecureAllowAnonymous pods answer nobody but themselves: let a NetworkPolicy (networkPolicy.enabled) or a mesh decide who reaches them, then set insecureAllowAnonymous=true" }}
{{- else if not .Values.masterKey.existingSecret }}
{{- fail "Postgres needs a master key, the same for every pod: make one with `bancheck key generate`, put it into a Secret and set masterKey.existingSecret" }}
{{- end }}
{{- if and $postgres .Values.sqlite.persistence.enabled }}
{{- fail "sqlite.persistence.enabled is for embedded SQLite; with database.existingSecret nothing is kept on a volume" }}
{{- end }}
{{- if lt (int .Values.terminationGracePeriodSeconds) (add (int .Values.drainDelaySeconds) 20 | int) }}
{{- fail "terminationGracePeriodSeconds must be at least drainDelaySeconds + 20, or pods are killed while requests finish" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- fail "autoscaling.minReplicas is above autoscaling.maxReplicas" }}
{{- end }}
{{- range $name := list "check_listen" "admin_listen" "metrics_listen" "data_dir" "database_url" "master_key" "feed_bell" "drain_delay_seconds" "insecure_allow_anonymous" }}
{{- if hasKey $.Values.config $name }}
{{- fail (printf "config.%s is set by the chart itself; see values.yaml for the value that stands for it" $name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the server and the migration both need to find the database. */}}
{{- define "bancheck.databaseEnv" -}}
{{- if include "bancheck.onPostgres" . }}
- name: BANCHECK_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.existingSecret }}
      key: {{ .Values.database.key }}
{{- end }}
{{- if .Values.masterKey.existingSecret }}
- name: BANCHECK_MASTER_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.masterKey.existingSecret }}
      key: {{ .Values.masterKey.key }}
{{- end }}
{{- end }}

{{/* One probe: over gRPC, or over HTTP while gRPC listens on loopback only. */}}
{{- define "bancheck.probe" -}}
{{- if .context.Values.insecureAllowAnonymous }}
grpc:
  port: 50051
  service: {{ .service | quote }}
{{- else }}
httpGet:
  path: {{ .path }}
  port: metrics
{{- end }}
{{- end }}
