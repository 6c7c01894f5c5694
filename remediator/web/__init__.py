"""HTTP in: webhooks, the API, pages for people, probes."""
