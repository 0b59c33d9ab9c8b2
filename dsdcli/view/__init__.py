"""View: pictures, tables and reports for people."""
