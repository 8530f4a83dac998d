def draw_figure(*args):
    raise NotImplementedError
