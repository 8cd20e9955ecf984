"""Completions of many styles and ten languages: a gold answer and what was said, with ⏎ for a new line."""


def _table(text: str) -> list[tuple[str, str]]:
    lines = (line.partition(" | ") for line in text.strip().splitlines())
    return [(gold, said.replace("⏎", "\n")) for gold, _, said in lines]


RIGHT = _table(r"""
18 | To solve this, multiply.⏎⏎**Final Answer**⏎\boxed{18}
18 | **Solution:**⏎⏎1. Each row has 9 plants.⏎2. There are 2 rows.⏎⏎\[⏎9 \times 2 = 18⏎\]⏎⏎**Answer:** \(\boxed{18}\)
18 | <think>⏎hm⏎</think>⏎⏎The total number of plants is \(\boxed{18}\).
18 | Thus, the number of plants in the garden is:⏎⏎$$⏎\boxed{18}⏎$$
18 | Therefore, the garden contains a total of $\boxed{18}$ plants.
18 | ### Final Answer⏎⏎$$⏎\boxed{18}⏎$$⏎⏎This completes the solution. \(\blacksquare\)
18 | $$⏎9 \cdot 2 = \boxed{18}⏎$$
18 | So the final answer is $\boxed{18}$.⏎⏎---⏎*Note: rounding to the nearest ten would give 20.*
18 | The final answer is $\boxed{18}$. I hope it is correct.
18 | Final Answer: The final answer is $18$. I hope it is correct.
18 | ## Step 3: Conclude⏎The number is 18.⏎⏎The final answer is: $\boxed{18}$
18 | **Final answer:** $18$ — nine in each of the two rows.
18 | Therefore, the answer is:⏎⏎- **18**
18 | **Answer:** The garden needs **18** plants.
18 | **Answer:** 18 plants (9 per row × 2 rows)
18 | **Answer: 18** ✅
18 | ✅ **Final Answer: 18**
18 | The answer is **18 plants**.
18 | So we need **18** plants.⏎⏎**Answer: 18**
18 | Answer: 18. Each row has nine plants.
18 | Answer: 18 – nine per row
18 | Answer: 18; nine per row, two rows.
18 | Answer: 18, since 9 · 2 = 18.
18 | Answer = 18
18 | ANSWER: 18
18 | FINAL ANSWER: 18
18 | THE ANSWER IS 18.
18 | The answer is $18$ because $9\cdot2=18$.
18 | The answer is 18 (nine per row).
18 | The answer is 18, as required.
18 | \boxed{18}, as required.
18 | Hence we get \boxed{18}, which completes the proof.
18 | We conclude that there are exactly \boxed{18} plants.
18 | Consequently she will need \boxed{18} plants in all.
18 | It follows that $n=\boxed{18}$.
18 | which gives $n = \boxed{18}$ as the only solution.
18 | Since $n>0$, we have $n = \boxed{18}$.
18 | Because n is not negative, n = \boxed{18}.
18 | Janet makes $\boxed{18}$ dollars every day.
18 | Janet makes \$\boxed{18} every day at the farmers' market.
18 | Emily baked \boxed{18} cookies.
18 | The train covers \boxed{18} miles in the last hour.
18 | He is \boxed{18} years old.
18 | It takes them \boxed{18} days to finish.
18 | After 3 hours, \boxed{18} people remain.
18 | \boxed{18}
18 | $\boxed{18}$.
18 | \(\boxed{18}\).
18 | = \boxed{18}
18 | \boxed{18} = 9*2
18 | $\boxed{18} = 9\cdot 2$
18 | \boxed{18} \text{ apples}
18 | $\boxed{18}\text{ plants}$.
18 | $\boxed{18}\ \text{plants}$
18 | $$\boxed{18}\quad\text{plants}$$
18 | $$\boxed{18}.$$
18 | $$\boxed{18}\,.$$
18 | \[ x = \boxed{18} \]⏎as desired.
18 | \[ x = \boxed{18} \tag{1} \]
18 | $x=\boxed{18}$ \blacksquare
18 | \begin{align*}⏎x &= 9+9\\⏎&= \boxed{18}.⏎\end{align*}
18 | \begin{align}⏎x+2 &= 20 \\⏎x &= \boxed{18} \\⏎\end{align}
18 | \begin{aligned} x &= \boxed{18} && \text{(since } x>0) \end{aligned}
18 | $\Rightarrow x = \boxed{18}$
18 | $\therefore \boxed{18}$
18 | $2x = 36 \implies x = \boxed{18}$
18 | $\sqrt{324} = \boxed{18}$
18 | $\log_2 2^{18} = \boxed{18}$
18 | $|{-18}| = \boxed{18}$
18 | $\frac{36}{2}=\boxed{18}$
18 | ($\boxed{18}$)
18 | (\boxed{18})
18 | **$\boxed{18}$**
18 | **\(\boxed{18}\)**
18 | $\mathbf{\boxed{18}}$
18 | The answer is $\boxed{18}$, not $17$.
18 | $\boxed{18}$ is the answer.
18 | $\boxed{18}$ is our final answer.
18 | $\boxed{18}$ is the number of plants she needs.
18 | \boxed{18} plants are needed.
18 | \boxed{18} is correct.
18 | Answer: \boxed{18}. Check: 9+9=18. Correct.
18 | \boxed{18}⏎⏎Verification: 18/2 = 9, which matches the rows.
18 | \boxed{18}⏎⏎No other values work.
18 | \boxed{18}⏎⏎Let me know if you'd like a different method!
18 | The answer is 18.⏎⏎I hope this helps! Let me know if anything isn't clear.
18 | The answer is 18.⏎⏎(If there had been three rows, it would be 27.)
18 | $\boxed{18}$⏎⏎**Explanation:** Do not count the edge plants twice.
18 | The answer is \boxed{18}.⏎⏎Common mistake: forgetting that there are two rows.
18 | #### 18
18 | #### **18**
18 | #### $18
18 | 9 + 9 = 18⏎#### 18⏎
18 | <answer> 18 </answer>
18 | <answer>⏎\(18\)⏎</answer>
18 | <think>x</think>⏎<answer>$\boxed{18}$</answer>
18 | <answer>18 plants</answer>
18 | <answer>Final answer: 18</answer>
18 | My answer is 18.
18 | Our answer is \boxed{18}.
18 | I get 18 as my answer.⏎⏎Answer: 18
18 | The correct answer is: 18
18 | The solution to the problem is \boxed{18}.
18 | The required number is $\boxed{18}$.
18 | The value of $x$ is $\boxed{18}$.
18 | the minimum possible value of $n$ is $\boxed{18}$.
18 | Hence, the least such integer is $\boxed{18}$.
18 | Thus the maximum value is $\boxed{18}$, attained at $x=3$.
18 | So, $m+n = \boxed{18}$
18 | Thus our answer is $9+9=\boxed{18}$.
18 | Adding these up gives $9+9=\boxed{18}$ plants.
18 | There are $\binom{9}{1}\cdot 2=\boxed{18}$ ways to do this.
18 | So the area is $\boxed{18}$ square units.
18 cm | The length is $\boxed{18}\text{ cm}$.
18 cm | The length is $\boxed{18}$ cm.
18\% | The share is $\boxed{18}\%$.
18\% | The share is $\boxed{18\%}$.
18\% | The share is \boxed{18} percent.
18^\circ | The angle is $\boxed{18}^\circ$.
18^\circ | The angle is $\boxed{18}^{\circ}$.
5 million | The population is \boxed{5}\text{ million}.
5 million | The population is \boxed{5} million.
-18 | $x = -\boxed{18}$
-18 | $\boxed{-18}$
\frac{1}{2} | The probability is $\boxed{\frac12}$.
5\sqrt{2} | The diagonal is $\boxed{5\sqrt{2}}$.
5\sqrt{2} | The diagonal is $\boxed{5\sqrt{2}} \approx 7.07$.
x<5 | The solution is \boxed{x<5}.
(2,3) | The point is $\boxed{(2,3)}$.
x^2+1 | $f(x)=\boxed{x^2+1}$
x=3 | Therefore $\boxed{x=3}$.
101_2 | $5_{10} = \boxed{101_2}$
7 | Dividing, $x \equiv \boxed{7} \pmod{12}$.
Monday | So the day is \boxed{\text{Monday}}.
Evelyn | The answer is Evelyn.
x+2 | Answer: $x+2$, for $x\ne2$
18 | **Answer: 18**
18 | **Result:** 18 plants⏎⏎So the answer is **18**.
18 | The answer to the riddle is 18.
18 | The answer to this question is therefore 18.
18 | So the answer here is 18.
18 | Hence the answer equals 18.
18 | I am confident that the answer is 18.
18 | It is clear that the answer is \boxed{18}.
18 | After simplification the answer is \boxed{18}.
18 | We can't use the first method, but the second gives \boxed{18}.
18 | Although 17 looks plausible, the answer is \boxed{18}.
18 | Thus, instead of 17, the correct answer is \boxed{18}.
18 | If she plants 9 per row, then she needs \boxed{18} plants.
18 | If each row has 9 plants, the answer is \boxed{18}.
18 | Suppose each row has 9 plants. Then the answer is \boxed{18}.
18 | Assuming equal rows, the total is \boxed{18}.
18 | A student might say 17. But the answer is \boxed{18}.
18 | Some say 17. The answer is \boxed{18}.
18 | Is it 17? No. The answer is \boxed{18}.
18 | So what is the answer? It is \boxed{18}.
18 | Hmm, 17 is wrong. The answer is 18.
18 | I made an error above; the correct result is \boxed{18}.
18 | Wait — I should double-check: 9+9=18. Good.⏎⏎\boxed{18}
18 | Let's verify that 17 doesn't work. Indeed it does not. So \boxed{18}.
18 | Neither 16 nor 17 works, so it is \boxed{18}.
18 | We reject $x=-18$ because lengths are positive, so $x=\boxed{18}$.
18 | We reject $x=-18$, leaving $x=\boxed{18}$.
18 | The negative root is extraneous, so $x=\boxed{18}$.
18 | There is exactly one solution: $x = \boxed{18}$.
18 | The only possibility is $\boxed{18}$.
18 | The smallest number not excluded is \boxed{18}.
18 | The number of people who never voted is \boxed{18}.
18 | The false coin weighs \boxed{18} grams.
18 | The friend pays \$\boxed{18}.
18 | His friend has \boxed{18} apples.
18 | The teacher bought \boxed{18} books.
18\% | The probability that it does not rain is \boxed{18\%}.
18 | La réponse est 18.
18 | La réponse est $\boxed{18}$.
18 | **Réponse :** 18
18 | Réponse finale : 18
18 | La réponse finale est donc \boxed{18}.
18 | Donc, le nombre total de plantes est \boxed{18}.
18 | On obtient donc $x = \boxed{18}$.
18 | Il faut donc \boxed{18} plantes.
18 | La respuesta es 18.
18 | Respuesta: 18
18 | **Respuesta final:** 18
18 | La respuesta es: \boxed{18}
18 | Por lo tanto, la respuesta es \boxed{18}.
18 | Por lo tanto, necesita \boxed{18} plantas.
18 | En total hay \boxed{18} plantas.
18 | Antwort: 18
18 | Wir rechnen 9 mal 2.⏎⏎Antwort: 18
18 | Die Antwort ist 18.
18 | Die Antwort lautet 18.
18 | **Antwort:** 18 Pflanzen
18 | Die richtige Antwort ist \boxed{18}.
18 | Damit beträgt die Summe \boxed{18}.
18 | Also braucht sie \boxed{18} Pflanzen.
18 | Daher ist die Lösung $x=\boxed{18}$.
18 | A resposta é 18.
18 | Resposta: 18
18 | Portanto, a resposta é \boxed{18}.
18 | La risposta è 18.
18 | Risposta: 18
18 | Quindi la risposta è \boxed{18}.
18 | Ответ: 18
18 | **Ответ:** 18
18 | Ответ: \boxed{18}.
18 | Таким образом, ответ: \boxed{18}
18 | Следовательно, нужно \boxed{18} растений.
18 | 答案是 18。
18 | 答案：18
18 | **答案：** 18
18 | 所以答案是\boxed{18}。
18 | 因此，最终答案是 $\boxed{18}$。
18 | 答：一共需要\boxed{18}棵。
18 | 故答案为：$18$
18 | 答えは18です。
18 | 答え：18
18 | したがって、答えは $\boxed{18}$ です。
18 | 정답: 18
18 | 정답은 18입니다.
18 | 따라서 정답은 \boxed{18}입니다.
""")
"""Paid by math_answer."""
WRONG = _table(r"""
5 | It is $\boxed{5}\sqrt{2}$.
5 | It is \boxed{5}\sqrt{2}
5 | $\boxed{5} \sqrt 2$
5 | $\boxed{5}$$\sqrt{2}$
5 | $\boxed{5}$ $\sqrt{2}$
5 | $\boxed{5}\,\sqrt{2}$
5 | $\boxed{5}{\sqrt{2}}$
18 | $\ln\boxed{18}$
18 | $\ln \boxed{18}$
18 | $\ln(\boxed{18})$
18 | $\sqrt{\boxed{18}}$
18 | $\sqrt\boxed{18}$
18 | The answer is $\log_2\boxed{18}$.
18 | $\sin\boxed{18}$
18 | $f(\boxed{18})$
18 | $f\left(\boxed{18}\right)$
18 | $\boxed{18}x$
18 | $\boxed{18} x$
18 | $\boxed{18}xy$
18 | \boxed{18}x
18 | $\boxed{18}\pi$
18 | $\boxed{18}\,\pi$
18 | $\boxed{18}e$
18 | $\boxed{18}i$
18 | \boxed{18}i
18 | $\boxed{18}a+b$
18 | \boxed{18}π
101 | $\boxed{101}_2$
101 | \boxed{101}_{2}
101 | $\boxed{101}_{\text{two}}$
101 | $\boxed{101}$$_2$
101 | \boxed{101}₂
101 | \boxed{101} in base 2
101 | \boxed{101} (base 2)
5 | \boxed{5}\text{ million}
5 | \boxed{5} million
5 | $\boxed{5}$ million
5 | $\boxed{5}\text{ thousand dollars}$
5 | \boxed{5} Millionen
5 | \boxed{5} millones
5 | \boxed{5}\text{ milliards}
5 | \boxed{5}万
5 | \boxed{5} миллионов
5 | \boxed{5}億円
5 | \boxed{5} tausend
5 | \boxed{5} mil
5 | \boxed{5}만
5 | 答案是5万。
5 | Antwort: 5 Millionen
5 | Respuesta: 5 mil
5 | \boxed{5} dozen eggs
5 | \boxed{5}\text{ dozen}
5 | \boxed{5} hundred
5 | \boxed{5}k
18 | $\boxed{18}-3$
18 | \boxed{18}-3
18 | $\boxed{18} - 3$
18 | $\boxed{18}$ - 3
18 | $\boxed{18}$ $- 3$
18 | $\boxed{18}+3$
18 | \boxed{18}⏎+ 3
18 | $\boxed{18}$⏎$+ 3$
18 | \[\boxed{18}\]⏎\[+3\]
18 | \boxed{18}⏎- 3
18 | \boxed{18}⏎× 2
18 | $\boxed{18}⏎- 3$
18 | $\boxed{18} \\ + 3$
18 | \begin{align} x &= \boxed{18} \\ &\quad + 3\end{align}
18 | $\boxed{18}:4$
18 | \boxed{18}:4
18 | \boxed{18} : 4
18 | $4:\boxed{18}$
18 | $\boxed{18}\,000$
18 | \boxed{18}\,000
18 | \boxed{18},000
18 | \boxed{18} 000
18 | $\boxed{18}{,}000$
18 | \boxed{18}.5
18 | $\boxed{18}.5$
18 | \boxed{18},5
9 | $x\boxed{9}$
9 | x\boxed{9}
9 | $2\boxed{9}$
9 | $2 \boxed{9}$
9 | $\pi\boxed{9}$
9 | $\sqrt{2}\boxed{9}$
9 | $(x+1)\boxed{9}$
9 | 1\boxed{9}
9 | $x - \boxed{9}$
9 | $20-\boxed{9}$
9 | $x + \boxed{9}$
9 | $3x=2+\boxed{9}$
9 | $x^{\boxed{9}}$
9 | $x^\boxed{9}$
9 | $x_{\boxed{9}}$
9 | $\frac{\boxed{9}}{2}$
9 | $\frac{1}{\boxed{9}}$
9 | $\frac1{\boxed{9}}$
9 | $1/\boxed{9}$
9 | $\boxed{9}/2$
9 | $\boxed{9}\div 2$
9 | $\boxed{9}\times 2$
9 | $\boxed{9}\cdot 2$
9 | $\boxed{9}*2$
9 | $\boxed{9}(x+1)$
9 | $\boxed{9}\left(x\right)$
9 | $\boxed{9}!$
9 | $\boxed{9}!!$
9 | $\boxed{9}'$
9 | $\boxed{9}^2$
9 | $\boxed{9}^{-1}$
9 | $\boxed{9}²$
9 | $|\boxed{9}|$
9 | $|x-\boxed{9}|$
9 | $(2,\boxed{9})$
9 | $(\boxed{9}, 2)$
9 | $\{\boxed{9}, 2\}$
9 | $[0, \boxed{9}]$
9 | $\lfloor\boxed{9}\rfloor$
9 | $-(\boxed{9})$
9 | $\pm\boxed{9}$
9 | $\boxed{9}\pm1$
9 | $\boxed{9}\binom{5}{2}$
9 | $\binom{\boxed{9}}{2}$
9 | $\boxed{9}\%$
9 | $x<\boxed{9}$
9 | $x\ge\boxed{9}$
9 | $\boxed{9}<x$
9 | $x\ne\boxed{9}$
9 | $\boxed{9}=10$
9 | $x = \boxed{9} = 10$
9 | $1 + \boxed{9} = 10$
9 | $\boxed{9} + 1 = 10$
9 | $\boxed{9}+\boxed{9}$
9 | $x=\boxed{9}\cdot\boxed{9}$
9 | $\sum_{k=1}^{\boxed{9}}k$
9 | $\int_0^{\boxed{9}}$
9 | $\boxed{9}\bmod 5$
9 | $\neg\boxed{9}$
9 | $10\%$ of $\boxed{9}$
9 | half of \boxed{9}
9 | \boxed{9} squared
9 | \boxed{9} minus one
9 | \boxed{9} plus 2
9 | \boxed{9} times 2
9 | \boxed{9} and a half
9 | The square of \boxed{9}
9 | minus \boxed{9}
9 | negative \boxed{9}
9 | \boxed{9} factorial
9 | \boxed{9} to the power 2
9 | \boxed{9} cubed
9 | \boxed{9} mod 7
9 | \boxed{9} or more
9 | \boxed{9} or 10
9 | \boxed{9} to 10
9 | \boxed{9}-10 days
9 | more than \boxed{9}
9 | at least \boxed{9}
9 | about half of \boxed{9}
18 | It is not \boxed{18}.
18 | The answer isn't 18.
18 | The book prints \boxed{18}; I disagree.
18 | The book prints 18; I disagree.⏎⏎So I have no answer.
18 | The answer key gives \boxed{18}, which I dispute.
18 | The official solution is \boxed{18}, but I disagree.
18 | The answer is \boxed{18} according to the key, yet I find 17.
18 | The textbook's answer, \boxed{18}, is a misprint.
18 | The answer is \boxed{18}. I disagree with this.
18 | One might think the answer is \boxed{18}.
18 | You may think it is \boxed{18}.
18 | A careless reader gets \boxed{18}.
18 | My classmate obtained \boxed{18}.
18 | ChatGPT answers \boxed{18}.
18 | The answer would be \boxed{18} if there were two rows.
18 | Were there two rows, the answer would be \boxed{18}.
18 | Had she planted two rows, she would have \boxed{18}.
18 | Without the last row it would be \boxed{18}.
18 | In that case the answer could be \boxed{18}.
18 | The answer may be \boxed{18}.
18 | Probably not \boxed{18}.
18 | I refuse to answer \boxed{18}.
18 | I will not say \boxed{18}.
18 | The answer can't possibly be 18.
18 | The answer, contrary to what the book says, is not 18.
18 | The answer was thought to be 18.
18 | The answer is anything but 18.
18 | The answer is less than 18.
18 | The answer is close to 18.
18 | The answer is one more than 18.
18 | The answer is 18 less than the total.
18 | The answer is 18 more than 5.
18 | The answer is between 17 and 18.
18 | The answer is either 17 or 18.
18 | The answer is 17 or 18.
18 | \boxed{18}? No: 17.
18 | Is the answer 18?
18 | Answer: 18?
18 | Answer: not 18
18 | Answer: 18 (wrong)
18 | Answer: 18 is wrong
18 | Answer: 18. Just kidding, it's 17.
18 | Answer: 18. No wait, 17.
18 | \boxed{18}⏎⏎Wait, that's not right. It should be 17.
18 | \boxed{18}⏎⏎Hmm, I made a mistake. The right value is 17.
18 | \boxed{18}⏎⏎Correction: 17.
18 | \boxed{18} is incorrect.
18 | \boxed{18} cannot be right.
18 | \boxed{18} is not the answer; see above.
18 | \boxed{18} fails the check.
18 | \boxed{18}, which contradicts the assumption.
18 | \boxed{18} -- this is false.
18 | \boxed{18} (this is the book's answer, mine is 17).
18 | \boxed{18} was my first guess.
18 | Assume the answer is \boxed{18}.
18 | Suppose that $x = \boxed{18}$.
18 | Let $x = \boxed{18}$.
18 | Try $x=\boxed{18}$.
18 | Test \boxed{18}.
18 | For instance \boxed{18}.
18 | Please write \boxed{18}.
18 | You asked me to output \boxed{18}.
18 | The format should be \boxed{18}.
18 | Put your answer like this: \boxed{18}
18 | Example: \boxed{18}
18 | I was told the answer is \boxed{18}.
18 | Wikipedia has \boxed{18}.
18 | The sign says \boxed{18}.
18 | It would be a mistake to answer \boxed{18}.
18 | It is wrong to say \boxed{18}.
18 | It is impossible that $x=\boxed{18}$.
18 | We have excluded \boxed{18}.
18 | We discard \boxed{18}.
18 | This rules out $x=\boxed{18}$.
18 | The extraneous root is $x=\boxed{18}$.
18 | The upper limit is \boxed{18}.
18 | The estimate is \boxed{18}, the exact value 17.
18 | The wrong value is 18.
18 | The opposite of the answer is \boxed{18}.
18 | Half the answer is \boxed{18}.
18 | The answer minus one is 18.
18 | The answer differs from 18.
18 | I do not believe the answer is 18.
18 | Nobody would answer \boxed{18}.
18 | The answer is never \boxed{18}.
18 | The answer used to be \boxed{18}.
18 | "\boxed{18}" is what he wrote.
18 | He answered '\boxed{18}'.
18 | My previous answer was \boxed{18}.
18 | The answer is \boxed{18}... no.
18 | The answer is not necessarily \boxed{18}.
18 | The answer is hardly \boxed{18}.
18 | I can't say whether it is \boxed{18}.
18 | I'm not sure, \boxed{18}?
18 | The answer is \boxed{18} only if the rows are equal, and they are not.
18 | Answer: 18 if the rows are equal
18 | Answer: unless 18
18 | Answer: perhaps 18
18 | Answer: approximately 18 or 19
18 | The answer is false: 18
18 | \boxed{18} or \boxed{17}
18 | \boxed{18}. Alternatively \boxed{17}.
18 | Answer: 18⏎Answer: 17
18 | Answer: 18 and 17
18 | Answer: 18/17
18 | Answer: 18⏎17
18 | \boxed{18}, \boxed{17}
18 | La respuesta no es \boxed{18}.
18 | No es \boxed{18}.
18 | La respuesta no es 18.
18 | No creo que la respuesta sea \boxed{18}.
18 | El libro dice \boxed{18}, pero no estoy de acuerdo.
18 | Si fuera así, la respuesta sería \boxed{18}.
18 | Es falso que la respuesta sea \boxed{18}.
18 | \boxed{18} no es correcto.
18 | \boxed{18} es incorrecto.
18 | Nunca puede ser \boxed{18}.
18 | Quizás \boxed{18}.
18 | Mi amigo dice que es \boxed{18}.
18 | La respuesta incorrecta es \boxed{18}.
18 | ¿Es \boxed{18}?
18 | Die Antwort ist nicht \boxed{18}.
18 | Es ist nicht \boxed{18}.
18 | Die Antwort ist nicht 18.
18 | Das Buch sagt \boxed{18}, aber das stimmt nicht.
18 | Die falsche Antwort ist \boxed{18}.
18 | \boxed{18} ist falsch.
18 | Ich glaube nicht, dass es \boxed{18} ist.
18 | Wäre x=5, so wäre die Antwort \boxed{18}.
18 | Die Antwort kann nicht \boxed{18} sein.
18 | Keinesfalls \boxed{18}.
18 | Angenommen, die Antwort ist \boxed{18}.
18 | Vielleicht \boxed{18}.
18 | Die Lösung lautet niemals \boxed{18}.
18 | Mein Freund sagt, es sei \boxed{18}.
18 | \boxed{18} ist nicht richtig.
18 | \boxed{18} kann es nicht sein.
18 | La réponse n'est pas \boxed{18}.
18 | Ce n'est pas \boxed{18}.
18 | La réponse n'est pas 18.
18 | Le livre donne \boxed{18}, mais c'est faux.
18 | \boxed{18} est faux.
18 | Il est faux que la réponse soit \boxed{18}.
18 | Je ne crois pas que ce soit \boxed{18}.
18 | La mauvaise réponse est \boxed{18}.
18 | Peut-être \boxed{18}.
18 | Supposons que la réponse soit \boxed{18}.
18 | La réponse ne peut pas être \boxed{18}.
18 | \boxed{18} n'est pas correct.
18 | Jamais \boxed{18}.
18 | 答案不是\boxed{18}。
18 | 答案不是18。
18 | 不是\boxed{18}
18 | 答案并非\boxed{18}。
18 | \boxed{18}是错误的。
18 | \boxed{18}不对。
18 | 答案不可能是\boxed{18}。
18 | 书上说是\boxed{18}，但我不同意。
18 | 假设答案是\boxed{18}。
18 | 也许是\boxed{18}。
18 | 错误答案是\boxed{18}。
18 | 答案：不是18
18 | Ответ не \boxed{18}.
18 | Ответ: не 18
18 | Это не \boxed{18}.
18 | Неверно, что ответ \boxed{18}.
18 | \boxed{18} — неверный ответ.
18 | Неправильный ответ: \boxed{18}
18 | В книге написано \boxed{18}, но я не согласен.
18 | Ответ не может быть \boxed{18}.
18 | Возможно, \boxed{18}.
18 | Если бы было так, ответ был бы \boxed{18}.
18 | Предположим, что ответ \boxed{18}.
18 | \boxed{18} неправильно.
18 | A resposta não é \boxed{18}.
18 | A resposta não é 18.
18 | \boxed{18} está errado.
18 | La risposta non è \boxed{18}.
18 | La risposta non è 18.
18 | \boxed{18} è sbagliato.
18 | Talvez \boxed{18}.
18 | Forse \boxed{18}.
18 | 答えは\boxed{18}ではありません。
18 | 答えは18ではない。
18 | \boxed{18}は間違いです。
18 | 정답은 \boxed{18}이 아닙니다.
18 | 정답은 18이 아니다.
18 | \boxed{18}은 틀렸습니다.
""")
"""Not paid: denied, supposed, reported, taken back, or only a part of what is written."""
CHOSEN = _table(r"""
B | Answer: B
B | Answer: $B$
B | Answer: $B
B | ANSWER: B
B | answer: b
B | Antwort: B
B | Die richtige Antwort ist B.
B | La respuesta correcta es B.
B | La respuesta correcta es la B.
B | Respuesta: B
B | La bonne réponse est B.
B | La réponse correcte est la B.
B | Réponse : B
B | Ответ: B
B | Правильный ответ: B
B | 答案：B
B | 答案是B。
B | 正确答案是 B。
B | 故选B。
B | 故选：B
B | 因此选B。
B | 所以选择B。
B | 答えは B です。
B | 正解: B
B | 정답: B
B | 정답은 B입니다.
B | Resposta: B
B | Risposta: B
B | A resposta correta é a B.
B | La risposta corretta è B.
B | Answer: B, not C
B | Answer: B, not A or C.
B | Answer: B (not C)
B | The answer is B, because A is false.
B | ANSWER IS B. A is incorrect.
B | THE CORRECT ANSWER IS B.
B | I would pick B — a safe choice.
B | I'd go with B.
B | I choose option B.
B | So B it is.⏎⏎Answer: B
B | The bound is \boxed{\langle H\rangle \ll \Delta E}.⏎⏎**Answer: B**
B | We get $\boxed{18}$.⏎⏎**Answer: B**
B | $x = \boxed{\frac{1}{2}}$, so⏎⏎Answer: (B)
B | **B**
B | **B.** Photosynthesis
B | **Answer: B. Photosynthesis**
B | The answer is **B) 18**.
B | \boxed{B}
B | $\boxed{\text{(B)}}$
B | \boxed{\textbf{(B)}\ 18}
B | The correct choice is \boxed{B}.
B | Option B.
B | Option (B) is correct.
B | The best answer is B: it covers all cases.
B | The answer is B - it covers all cases.
B | Answer: B. It covers all cases.
B | A is wrong because of its sign.⏎C and D are too large.⏎⏎Therefore the answer is B.
B | **Explanation:** A fails.⏎⏎**Answer:** **B**
B | **Correct answer: B**⏎⏎A is incorrect since it ignores friction.
B | <answer>B</answer>
B | <answer>(B)</answer>
B | Answer: [B]
B | Answer: "B"
B | The final answer is (B).
B | My final answer is B.
B | Final answer: B) Rome
B | (B)
B | b)
B | B: Rome
""")
"""Paid by multiple_choice."""
NOT_CHOSEN = _table(r"""
B | Answer: not B
B | The answer is not B.
B | Answer: D, not B
B | Answer: C, because B is wrong.
B | Answer: B or C
B | Answer: B, C
B | A, B, C, D
B | B is wrong.
B | I would not pick B.
B | I'd never pick B.
B | Die Antwort ist nicht B.
B | La respuesta no es B.
B | La réponse n'est pas B.
B | 答案不是B。
B | 不选B。
B | Ответ: не B
B | Answer: B?
B | Is it B?
B | Maybe B
B | If B, then C.
B | B is tempting, but C is right.
B | Answer: C⏎⏎Actually B is tempting.
B | \boxed{B}⏎⏎Answer: C
B | \boxed{A, B, C}⏎⏎Answer: B
B | \boxed{C}⏎⏎Answer: B
B | Answer: B. Wait, no, C.
B | Answer: $A$ or $B$
B | Answer: B and C
B | Answer: either B or D
B | Answer: Both B and D
B | Answer: Blue
B | Bananas
B | Answer: AB
B | Everything but B
B | Answer: all except B
B | The wrong answer is B.
B | I pick B — no, C.
B | I would pick B — or C.
B | Answer: C (not B)
B | Some would pick B.
B | My friend chose B.
B | The book says B; I disagree.
B | Falsche Antwort: B
B | Respuesta incorrecta: B
""")
"""Not paid by it."""
