{{- define "joulecar.name" -}}
{{- ternary .Release.Name (printf "%s-joulecar" .Release.Name) (contains "joulecar" .Release.Name) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "joulecar.selector" -}}
app.kubernetes.io/name: joulecar
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "joulecar.labels" -}}
{{ include "joulecar.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "joulecar.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "joulecar.config" -}}
{{- .Values.config | default (.Files.Get (printf "files/%s.toml" .Values.mode)) }}
{{- end }}

{{- define "joulecar.account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "joulecar.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "joulecar.security" -}}
{{- if eq .Values.rapl "root" }}
runAsNonRoot: false
runAsUser: 0
runAsGroup: 0
{{- else }}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
{{- end }}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* What both modes have in common: everything of the container but its volumes and probes of readiness. */}}
{{- define "joulecar.container" -}}
name: joulecar
image: {{ include "joulecar.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [run, --config, /etc/joulecar/joulecar.toml]
{{- if or .Values.env .Values.gpu.enabled }}
env:
  {{- if .Values.gpu.enabled }}
  - name: NVIDIA_VISIBLE_DEVICES
    value: all
  - name: NVIDIA_DRIVER_CAPABILITIES
    value: utility
  {{- end }}
  {{- with .Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
ports:
  - name: joulecar
    containerPort: 9420
securityContext:
  {{- include "joulecar.security" . | nindent 2 }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
livenessProbe:
  httpGet:
    path: /healthz
    port: joulecar
  initialDelaySeconds: 10
  periodSeconds: 20
  timeoutSeconds: 5
{{- end }}
