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
{{- if and .Values.traces.ca.existingSecret (not (hasPrefix "https://" .Values.traces.endpoint)) }}
{{- fail "traces.ca says which certificate a collector may have: set traces.endpoint to an https:// address" }}
{{- end }}
{{- include "bancheck.judgeAccess" . }}
{{- range $name := list "check_listen" "admin_listen" "metrics_listen" "data_dir" "database_url" "master_key" "other_master_keys" "feed_bell" "drain_delay_seconds" "otlp_endpoint" "otlp_ca" "trace_checks" "auth" "insecure_allow_anonymous" "jwt_issuer" "jwt_audience" "jwt_jwks" "jwt_algorithms" "tls_cert" "tls_key" "tls_client_ca" "tls_client_crl" "tls_client_required" }}
{{- if hasKey $.Values.config $name }}
{{- fail (printf "config.%s is set by the chart itself; see values.yaml for the value that stands for it" $name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The same of who may ask, and of TLS. */}}
{{- define "bancheck.judgeAccess" -}}
{{- with .Values.auth.jwt }}
{{- $keys := or .jwksUrl .jwksConfigMap }}
{{- if and .jwksUrl .jwksConfigMap }}
{{- fail "auth.jwt.jwksUrl and auth.jwt.jwksConfigMap both say where the issuer's keys are: set one" }}
{{- end }}
{{- if and (or .issuer .audience $keys) (not (and .issuer .audience $keys)) }}
{{- fail "tokens (JWT) need auth.jwt.issuer, auth.jwt.audience, and auth.jwt.jwksUrl or auth.jwt.jwksConfigMap" }}
{{- end }}
{{- if and .issuer (not $.Values.auth.enabled) }}
{{- fail "auth.jwt says whose tokens are taken, but with auth.enabled=false nobody is asked for one" }}
{{- end }}
{{- end }}
{{- with .Values.tls.clientCa }}
{{- if and (or .crlKey .required) (not .existingSecret) }}
{{- fail "tls.clientCa.crlKey and tls.clientCa.required need tls.clientCa.existingSecret" }}
{{- end }}
{{- if and .existingSecret (not $.Values.tls.existingSecret) }}
{{- fail "certificates of clients need TLS: set tls.existingSecret" }}
{{- end }}
{{- if and .existingSecret (not $.Values.auth.enabled) (not .required) }}
{{- fail "tls.clientCa says whose certificates are taken, but with auth.enabled=false nobody needs one: set tls.clientCa.required, or auth.enabled" }}
{{- end }}
{{- if and .required (not (include "bancheck.onPostgres" $)) }}
{{- fail "tls.clientCa.required needs Postgres: on embedded SQLite the first key is made over the listener, by a command line in the pod that has no certificate to show" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The name in the certificate. */}}
{{- define "bancheck.serverName" -}}
{{- default (printf "%s.%s.svc" (include "bancheck.fullname" .) .Release.Namespace) .Values.tls.serverName }}
{{- end }}

{{/* How to speak with the server: from: "127.0.0.1" or the Service's name. */}}
{{- define "bancheck.clientEnv" -}}
{{- $scheme := ternary "https" "http" (not (empty .context.Values.tls.existingSecret)) }}
- name: BANCHECK_ENDPOINT
  value: {{ printf "%s://%s:%v" $scheme .host .checkPort | quote }}
- name: BANCHECK_ADMIN_ENDPOINT
  value: {{ printf "%s://%s:%v" $scheme .host .adminPort | quote }}
{{- if .context.Values.tls.existingSecret }}
- name: BANCHECK_SERVER_NAME
  value: {{ include "bancheck.serverName" .context | quote }}
{{- with .context.Values.tls.caKey }}
- name: BANCHECK_CA
  value: /etc/bancheck/tls/{{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the server and the migration both need to find the database. */}}
{{- define "bancheck.databaseEnv" -}}
{{- if include "bancheck.onPostgres" . }}
- name: BANCHECK_DATABASE_URL_FILE
  value: /etc/bancheck/secrets/database-url
{{- end }}
{{- if .Values.masterKey.existingSecret }}
- name: BANCHECK_MASTER_KEY_FILE
  value: /etc/bancheck/secrets/master-key
{{- if .Values.masterKey.othersKey }}
- name: BANCHECK_OTHER_MASTER_KEYS_FILE
  value: /etc/bancheck/secrets/other-master-keys
{{- end }}
{{- end }}
{{- end }}

{{/* "yes" where there are secrets of the database's. */}}
{{- define "bancheck.hasSecrets" -}}
{{- if or .Values.database.existingSecret .Values.masterKey.existingSecret }}yes{{ end }}
{{- end }}

{{- define "bancheck.secretsMount" -}}
- name: secrets
  mountPath: /etc/bancheck/secrets
  readOnly: true
{{- end }}

{{/* As files, since variables are shown by whatever shows a process. */}}
{{- define "bancheck.secretsVolume" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $path, $secret := dict "database-url" .Values.database "master-key" .Values.masterKey }}
      {{- if $secret.existingSecret }}
      - secret:
          name: {{ $secret.existingSecret }}
          items:
            - key: {{ $secret.key }}
              path: {{ $path }}
            {{- with $secret.othersKey }}
            - key: {{ . }}
              path: other-master-keys
            {{- end }}
      {{- end }}
      {{- end }}
{{- end }}

{{/* One probe: over gRPC, or over HTTP where gRPC speaks TLS, which a kubelet's gRPC probe does not. */}}
{{- define "bancheck.probe" -}}
{{- if not .context.Values.tls.existingSecret }}
grpc:
  port: 50051
  service: {{ .service | quote }}
{{- else }}
httpGet:
  path: {{ .path }}
  port: metrics
{{- end }}
{{- end }}
