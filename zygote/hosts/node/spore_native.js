// The host's addon, spore_node.node: dlopen(3) of a library that is there, since it was preloaded.
'use strict';

process.dlopen({ exports }, __dirname + '/spore_node.node');
