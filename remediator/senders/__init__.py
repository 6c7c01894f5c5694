"""How those who send us alerts should be configured, and what is wrong with how they are. Text in, problems out."""
