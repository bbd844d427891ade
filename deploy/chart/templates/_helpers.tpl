{{- /* The name of all objects: the release's, with the chart's behind it unless it holds that. */ -}}
{{- define "swr-gateway.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "swr-gateway.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "swr-gateway.labels" -}}
{{ include "swr-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end -}}

{{- define "swr-gateway.metadata" -}}
name: {{ include "swr-gateway.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "swr-gateway.labels" . | nindent 2 }}
{{- end -}}

{{- /* Settings as variables; files come with the secrets that hold them. */ -}}
{{- define "swr-gateway.variables" -}}
{{- range $name, $value := .Values.settings }}
{{- if not (kindIs "invalid" $value) }}
SWR_GATEWAY_{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- if .Values.credentials.secretName }}
SWR_GATEWAY_CONFIG: /etc/swr-gateway/credentials/credentials.toml
{{- end }}
{{- if .Values.tls.secretName }}
SWR_GATEWAY_TLS_CERT: /etc/swr-gateway/tls/tls.crt
SWR_GATEWAY_TLS_KEY: /etc/swr-gateway/tls/tls.key
SWR_GATEWAY_TLS_CLIENT_CA: /etc/swr-gateway/tls/ca.crt
{{- end }}
{{- range $name, $value := .Values.env }}
{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end -}}

{{- define "swr-gateway.image" -}}
{{- with .Values.image }}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- end -}}
