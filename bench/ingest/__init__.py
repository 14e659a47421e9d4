"""From a log of what users wrote, rated or labelled to a task: LaMP's files, and `task.yaml` beside
them.
"""
