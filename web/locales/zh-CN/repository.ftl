# Repositories, tags and artifacts.
