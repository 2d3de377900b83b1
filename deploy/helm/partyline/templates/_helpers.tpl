{{/* What names of objects begin with. */}}
{{- define "partyline.fullname" -}}
{{- $name := ternary .Release.Name (printf "%s-partyline" .Release.Name) (contains "partyline" .Release.Name) }}
{{- $name | trunc 46 | trimSuffix "-" }}
{{- end }}

{{/* The parts that are installed, as JSON. */}}
{{- define "partyline.components" -}}
{{- ternary (list "edge" "gateway") (list "edge") .Values.gateway.enabled | toJson }}
{{- end }}

{{/* The ports of a component by name, as JSON. */}}
{{- define "partyline.ports" -}}
{{- if eq . "edge" }}{"http":3000,"admin":3001,"edges":3002}{{ else }}{"http":3080,"admin":3081}{{ end }}
{{- end }}

{{/* Labels by which a component's pods are found. Argument: [root, component] */}}
{{- define "partyline.selector" -}}
app.kubernetes.io/name: partyline
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* All labels. Argument: [root, component] */}}
{{- define "partyline.labels" -}}
{{ include "partyline.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The name of the Secret. */}}
{{- define "partyline.secretName" -}}
{{- .Values.secret.name | default (include "partyline.fullname" .) }}
{{- end }}

{{/* nats.url, without credentials. */}}
{{- define "partyline.natsURL" -}}
{{- if .Values.natsServers }}
{{- join "," .Values.natsServers }}
{{- else if .Values.nats.enabled }}
{{- /* as NATS's chart names its Service */}}
{{- $name := ternary .Release.Name (printf "%s-nats" .Release.Name) (contains "nats" .Release.Name) }}
{{- printf "nats://%s:4222" (.Values.nats.fullnameOverride | default $name) }}
{{- end }}
{{- end }}

{{/* A component's configuration file: config, and what belongs to the pod. Argument: [root, component] */}}
{{- define "partyline.config" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- $values := index $root.Values $component }}
{{- $ports := include "partyline.ports" $component | fromJson }}
{{- $method := $values.natsAuth.method }}
{{- $nats := dict }}
{{- if ne $method "url" }}
{{- $_ := required "name the servers in natsServers, or use natsAuth.method: url, or NATS's own chart (nats.enabled)" (include "partyline.natsURL" $root) | set $nats "url" }}
{{- end }}
{{- if has $method (list "creds" "nkey") }}
{{- $_ := printf "/etc/partyline/nats/%s" $method | set $nats $method }}
{{- end }}
{{- if $root.Values.natsTLS.secretName }}
{{- $tls := dict "ca" "/etc/partyline/nats-tls/ca.crt" }}
{{- if $root.Values.natsTLS.clientCertificate }}
{{- $_ := merge $tls (dict "cert" "/etc/partyline/nats-tls/tls.crt" "key" "/etc/partyline/nats-tls/tls.key") }}
{{- end }}
{{- $_ := set $nats "tls" $tls }}
{{- end }}
{{- $own := dict "nats" $nats "admin" (dict "listen" (printf ":%v" $ports.admin)) }}
{{- if eq $component "edge" }}
{{- $_ := printf ":%v" $ports.http | set $own "listen" }}
{{- $_ := dict "listen" (printf ":%v" $ports.edges) | set $own "edges" }}
{{- $_ := dict "rate" (int $values.drain.rate) "timeout" (printf "%ds" (int $values.drain.timeoutSeconds)) | set $own "drain" }}
{{- if $values.tls.secretName }}
{{- $_ := dict "cert" "/etc/partyline/tls/tls.crt" "key" "/etc/partyline/tls/tls.key" | set $own "tls" }}
{{- end }}
{{- else }}
{{- $_ := dict "listen" (printf ":%v" $ports.http) | set $own "gateway" }}
{{- end }}
{{- mergeOverwrite (deepCopy $values.config) $own | toYaml }}
{{- end }}

{{/* Variables of a component's container. Argument: [root, component] */}}
{{- define "partyline.env" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- $values := index $root.Values $component }}
{{- $keys := dict "PARTYLINE_EDGES_SECRET" "edges-secret" "PARTYLINE_ADMIN_TOKEN" "admin-token" }}
{{- if has $values.natsAuth.method (list "url" "token") }}
{{- $_ := set $keys (printf "PARTYLINE_NATS_%s" (upper $values.natsAuth.method)) $values.natsAuth.key }}
{{- end }}
{{- range $variable, $key := $keys }}
- name: {{ $variable }}
  valueFrom: {secretKeyRef: {name: {{ include "partyline.secretName" $root }}, key: {{ $key }}}}
{{- end }}
{{- if eq $component "edge" }}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: PARTYLINE_ADVERTISE   # where other edges reach this pod
  value: "http://{{ ternary "[$(POD_IP)]" "$(POD_IP)" $values.ipv6 }}:{{ (include "partyline.ports" $component | fromJson).edges }}"
{{- end }}
{{- with $values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The files of a component: a list of volumes, each with the path where it is mounted. Argument: [root, component] */}}
{{- define "partyline.volumes" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- $values := index $root.Values $component }}
{{- $name := include "partyline.fullname" $root }}
- {path: /etc/partyline/config, volume: {name: config, configMap: {name: {{ $name }}-{{ $component }}}}}
{{- if has $values.natsAuth.method (list "creds" "nkey") }}
- path: /etc/partyline/nats
  volume:
    name: nats
    secret: {secretName: {{ include "partyline.secretName" $root }}, defaultMode: 0440, items: [{key: {{ $values.natsAuth.key }}, path: {{ $values.natsAuth.method }}}]}
{{- end }}
{{- with $root.Values.natsTLS.secretName }}
- {path: /etc/partyline/nats-tls, volume: {name: nats-tls, secret: {secretName: {{ . }}, defaultMode: 0440}}}
{{- end }}
{{- if eq $component "edge" }}
{{- with $values.tls.secretName }}
- {path: /etc/partyline/tls, volume: {name: tls, secret: {secretName: {{ . }}, defaultMode: 0440}}}
{{- end }}
{{- end }}
{{- range $i, $secret := $values.secretFiles }}
- {path: /etc/partyline/secrets/{{ $secret }}, volume: {name: secrets-{{ $i }}, secret: {secretName: {{ $secret }}, defaultMode: 0440}}}
{{- end }}
{{- end }}
