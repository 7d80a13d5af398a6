# fish completion for spore(1). All that it offers comes from the command itself.
function __spore_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (spore __complete $words[2..-1] 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path (commandline -ct)
            case :words
            case '*'
                echo $line
        end
    end
end
complete -c spore -f -a '(__spore_complete)'
