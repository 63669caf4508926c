"""The kinds of slides: each function draws one from its YAML."""

from collections.abc import Callable
from typing import Any

from canvas import HEIGHT, WIDTH, Canvas

Slide = dict[str, Any]
LEFT, RIGHT, TOP = 60, 900, 130
INNER = RIGHT - LEFT


def cover(canvas: Canvas, slide: Slide) -> None:
    """Name, tagline and date on a dark ground."""
    canvas.box(0, 0, WIDTH, HEIGHT, "dark")
    for radius, fill in ((250, "dark2"), (180, "accent2"), (110, "accent")):
        canvas.circle(850, 120, radius, fill)
    pulse = [(0, 0), (420, 0), (442, -22), (466, 34), (496, -96), (526, 58), (550, 0), (960, 0)]
    canvas.line([(x, 408 + y) for x, y in pulse], "accent", 3)
    canvas.text(LEFT, 150, slide["title"], size=60, font="bold", colour="paper")
    canvas.text(LEFT, 235, slide["tagline"], size=24, colour="pale", width=560)
    canvas.text(LEFT, 455, slide["note"], size=18, font="bold", colour="paper")


def bullets(canvas: Canvas, slide: Slide) -> None:
    """A list on the left; big numbers, if any, on cards on the right."""
    stats = slide.get("stats", [])
    width = 500 if stats else INNER
    y: float = TOP + 10
    for bullet in slide["bullets"]:
        canvas.circle(LEFT + 5, y + 12, 4, "accent")
        y = canvas.text(LEFT + 24, y, bullet, size=19, width=width - 24) + 16
    gap = 14
    height = min(112, (HEIGHT - TOP - 70 - gap * (len(stats) - 1)) / max(1, len(stats)))
    for index, stat in enumerate(stats):
        top = TOP + 5 + index * (height + gap)
        canvas.box(600, top, 300, height, "tint", radius=10)
        canvas.box(600, top, 6, height, "accent")
        canvas.text(626, top + 12, stat["value"], size=34, font="bold", colour="accent2")
        canvas.text(626, top + 58, stat["label"], size=14, colour="muted", width=262)


def cards(canvas: Canvas, slide: Slide) -> None:
    """Two to four columns with a heading and a text each."""
    items = slide["cards"]
    gap = 20
    width = (INNER - gap * (len(items) - 1)) / len(items)
    heights = [
        canvas.height(item["heading"], 21, width - 40, "bold")
        + canvas.height(item["text"], 17, width - 40)
        for item in items
    ]
    bottom = TOP + 84 + max(heights) + 34
    for index, item in enumerate(items):
        x = LEFT + index * (width + gap)
        canvas.box(x, TOP + 5, width, bottom - TOP - 5, "tint", radius=12)
        canvas.circle(x + 38, TOP + 45, 20, "accent")
        number = str(item.get("mark", index + 1))
        canvas.text(
            x + 18, TOP + 34, number, size=18, font="bold", colour="paper", width=40, align="center"
        )
        y = canvas.text(x + 20, TOP + 84, item["heading"], size=21, font="bold", width=width - 40)
        canvas.text(x + 20, y + 8, item["text"], size=17, colour="muted", width=width - 40)
    if "conclusion" in slide:
        canvas.text(LEFT, bottom + 30, slide["conclusion"], size=20, font="bold", colour="accent2")


def table(canvas: Canvas, slide: Slide) -> None:
    """A table; the row named by `highlight` stands out."""
    shares = slide.get("widths", [1] * len(slide["columns"]))
    widths = [INNER * share / sum(shares) for share in shares]
    rows = [slide["columns"], *slide["rows"]]
    height = min(50, 330 / len(rows))
    for index, row in enumerate(rows):
        y = TOP + 5 + index * height
        head, strong = index == 0, index == slide.get("highlight")
        fill = "dark" if head else "accent_pale" if strong else "tint" if index % 2 else "paper"
        canvas.box(LEFT, y, INNER, height, fill)
        x: float = LEFT
        for cell, width in zip(row, widths, strict=True):
            canvas.text(
                x + 14,
                y + height / 2 - 10,
                str(cell),
                size=15,
                font="bold" if head or strong else "regular",
                colour="paper" if head else "ink",
            )
            x += width
    if "note" in slide:
        canvas.text(LEFT, 470, slide["note"], size=14, font="italic", colour="muted", width=INNER)


def chart(canvas: Canvas, slide: Slide) -> None:
    """Bars on the left, what they mean on the right."""
    values = slide["bars"]
    base, height, left, right = 430, 250, LEFT + 20, 540
    top = max(bar["value"] for bar in values)
    for line in range(5):
        y = base - height * line / 4
        canvas.line([(left, y), (right, y)], "rule")
    step = (right - left) / len(values)
    for index, bar in enumerate(values):
        size = height * bar["value"] / top
        x = left + step * index + step * 0.2
        fill = "accent" if bar.get("strong") else "accent2"
        canvas.box(x, base - size, step * 0.6, size, fill)
        middle = left + step * index
        canvas.text(
            middle,
            base - size - 22,
            bar["shown"],
            size=15,
            font="bold",
            width=step,
            align="center",
        )
        canvas.text(
            middle, base + 8, bar["label"], size=13, colour="muted", width=step, align="center"
        )
    canvas.text(left, 480, slide["axis"], size=12, font="italic", colour="muted")
    y = TOP + 10
    for bullet in slide["bullets"]:
        canvas.circle(585, y + 11, 4, "accent")
        y = canvas.text(602, y, bullet, size=17, width=298) + 14


def rings(canvas: Canvas, slide: Slide) -> None:
    """A market as circles within each other, with a legend."""
    fills = ("pale", "accent2", "accent")
    for index, ring in enumerate(slide["rings"]):
        radius = 165 - 55 * index
        canvas.circle(240, 475 - radius, radius, fills[index])
        y = TOP + 15 + index * 88
        canvas.box(480, y + 4, 18, 62, fills[index], radius=4)
        canvas.text(515, y, f"{ring['name']}  {ring['value']}", size=23, font="bold")
        canvas.text(515, y + 34, ring["label"], size=15, colour="muted", width=385)
    canvas.text(480, 420, slide["conclusion"], size=17, font="bold", colour="accent2", width=420)


def timeline(canvas: Canvas, slide: Slide) -> None:
    """Milestones along a line; those done are filled."""
    steps = slide["steps"]
    y, gap = 225, INNER / len(steps)
    canvas.line([(LEFT, y), (RIGHT, y)], "rule", 4)
    for index, step in enumerate(steps):
        x = LEFT + gap * (index + 0.5)
        canvas.circle(x, y, 13, "accent" if step.get("done") else "accent2")
        canvas.circle(x, y, 6, "accent" if step.get("done") else "paper")
        left, width = x - gap / 2 + 6, gap - 12
        canvas.text(
            left, y - 60, step["when"], size=17, font="bold", colour="accent2", width=width,
            align="center",
        )  # fmt: skip
        below = canvas.text(
            left, y + 30, step["what"], size=16, font="bold", width=width, align="center"
        )
        canvas.text(
            left, below + 4, step["detail"], size=13, colour="muted", width=width, align="center"
        )
    y = 390
    for bullet in slide.get("bullets", []):
        canvas.circle(LEFT + 5, y + 11, 4, "accent")
        y = canvas.text(LEFT + 24, y, bullet, size=17, width=INNER - 24) + 10


def team(canvas: Canvas, slide: Slide) -> None:
    """People with their initials, roles and past."""
    people = slide["people"]
    width = INNER / len(people)
    for index, person in enumerate(people):
        x = LEFT + index * width
        initials = "".join(word[0] for word in person["name"].replace("Dr. ", "").split())
        canvas.circle(x + width / 2, TOP + 60, 44, "accent2" if index % 2 else "accent")
        for y, text, size, font, colour in (
            (TOP + 44, initials, 28, "bold", "paper"),
            (TOP + 120, person["name"], 18, "bold", "ink"),
            (TOP + 147, person["role"], 15, "bold", "accent2"),
            (TOP + 175, person["past"], 14, "regular", "muted"),
        ):
            canvas.text(
                x + 8, y, text, size=size, font=font, colour=colour, width=width - 16,
                align="center",
            )  # fmt: skip
    canvas.box(LEFT, 415, INNER, 52, "tint", radius=10)
    canvas.text(LEFT + 20, 432, slide["advisors"], size=15, width=INNER - 40)


def ask(canvas: Canvas, slide: Slide) -> None:
    """The round, large, and what it pays for as one divided bar."""
    canvas.box(LEFT, TOP + 5, 340, 172, "dark", radius=12)
    canvas.text(LEFT + 24, TOP + 25, slide["amount"], size=46, font="bold", colour="paper")
    canvas.text(LEFT + 24, TOP + 92, slide["terms"], size=17, colour="pale", width=300)
    y: float = TOP + 12
    for bullet in slide["bullets"]:
        canvas.circle(440, y + 11, 4, "accent")
        y = canvas.text(458, y, bullet, size=17, width=442) + 12
    canvas.text(LEFT, 335, "Use of funds", size=19, font="bold")
    x: float = LEFT
    fills = ("accent2", "accent", "dark2", "pale")
    for use, fill in zip(slide["uses"], fills, strict=False):
        width = INNER * use["percent"] / 100
        ink = "ink" if fill == "pale" else "paper"
        canvas.box(x, 368, width, 52, fill)
        canvas.text(x + 12, 382, f"{use['percent']}%", size=20, font="bold", colour=ink)
        canvas.text(x + 4, 430, use["what"], size=14, colour="muted", width=width - 8)
        x += width


LAYOUTS: dict[str, Callable[[Canvas, Slide], None]] = {
    layout.__name__: layout
    for layout in (cover, bullets, cards, table, chart, rings, timeline, team, ask)
}


def draw(canvas: Canvas, slide: Slide, *, company: str, number: int) -> None:
    """One slide with its heading and footer."""
    if slide["kind"] != "cover":
        canvas.box(0, 0, 14, HEIGHT, "accent")
        canvas.text(LEFT, 38, slide["title"], size=32, font="bold", colour="dark")
        canvas.text(LEFT, 82, slide.get("subtitle", ""), size=17, colour="muted")
        canvas.line([(LEFT, 505), (RIGHT, 505)], "rule")
        canvas.text(LEFT, 512, company, size=11, colour="muted")
        canvas.text(RIGHT - 60, 512, str(number), size=11, colour="muted", width=60, align="right")
    LAYOUTS[slide["kind"]](canvas, slide)
