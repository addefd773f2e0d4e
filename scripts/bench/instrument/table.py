"""Medians of the rounds as a Markdown table, and segue's ratio to each peer, pair by pair within a round."""
from statistics import median

from .peers import TITLES


def digits(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def cell(values):
    """The median, and min..max when there is more than one."""
    if not values:
        return "-"
    spread = f" ({digits(min(values))}..{digits(max(values))})" if len(values) > 1 else ""
    return digits(median(values)) + spread


def figures(results, peer, scenario, field):
    return {each["round"]: each[field] for each in results if (each["peer"], each["scenario"]) == (peer, scenario) and field in each}


def ratio(results, peer, scenario, field):
    ours, theirs = figures(results, "segue", scenario, field), figures(results, peer, scenario, field)
    return cell([ours[number] / theirs[number] for number in ours if theirs.get(number)])


def markdown(results, rows, peers):
    """`rows` are (title, scenario, field); a row for which there is no figure is left out."""
    others = [peer for peer in peers if peer != "segue"] if "segue" in peers else []
    heads = [TITLES[peer] for peer in peers] + [f"segue / {peer}" for peer in others]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for title, scenario, field in rows:
        cells = [cell(list(figures(results, peer, scenario, field).values())) for peer in peers]
        if any(each != "-" for each in cells):
            cells += [ratio(results, peer, scenario, field) if field != "drain_s" else "-" for peer in others]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
