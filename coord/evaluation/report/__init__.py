"""HTML pages, tables and charts about runs."""
