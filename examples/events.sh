#!/bin/sh
# Starts a model and prints what every model does meanwhile, a JSON message a line:
# examples/events.sh NAME [HOST:PORT]. Needs curl and websocat.
name=${1:?usage: examples/events.sh NAME [HOST:PORT]} at=${2:-127.0.0.1:8080}
websocat "ws://$at/api/events?changes=true" & trap 'kill $!' EXIT
curl -sS -X POST "http://$at/api/models/$name/start?wait=60s"
