"""Tables in HTML, read back as text and numbers."""

from bs4 import BeautifulSoup


def cells(html):
    """The text of every cell of the first table's body, row by row."""
    rows = BeautifulSoup(html.data, "html.parser").find("tbody").find_all("tr")
    return [[cell.get_text(" ") for cell in row.find_all(["th", "td"])] for row in rows]


def value(text):
    """ "−1,234.5 ± 0.1" as −1234.5; percents as they are."""
    return float(text.split(" ±")[0].replace("−", "-").replace(",", "").replace("%", ""))
