"""Graphs with igraph: page rank, minimum spanning tree, breadth-first search.

Event: {"size": int, "seed": int}. Answer: properties that hold for every graph of the kind.
"""
import random

import igraph


def handler(event, context):
    size = int(event.get("size", 1000))
    random.seed(int(event.get("seed", 1)))
    graph = igraph.Graph.Barabasi(size, 10)
    ranks = graph.pagerank()
    weights = [random.random() for _ in range(graph.ecount())]
    tree = graph.spanning_tree(weights=weights)
    order, _, parents = graph.bfs(0)
    return {
        "vertices": graph.vcount(),
        "edges": graph.ecount(),
        "rank_sum": sum(ranks),
        "tree_edges": tree.ecount(),
        "tree_connected": tree.is_connected(),
        "reached": len(order),
        "root_parent": parents[0],
    }
