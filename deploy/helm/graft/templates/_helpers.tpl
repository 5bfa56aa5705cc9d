{{- define "graft.labels" -}}
app.kubernetes.io/name: graft
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "graft.pod" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "graft.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{- define "graft.databases" -}}
- name: GRAFT_DATABASE_URL
  valueFrom: { secretKeyRef: { name: {{ .Values.secrets.api }}, key: database-url } }
- name: GRAFT_QUEUE_URL
  valueFrom: { secretKeyRef: { name: {{ .Values.secrets.api }}, key: queue-url, optional: true } }
{{- end }}
