"""Completions of many styles and ten languages: a gold answer and what was said, with ⏎ for a new
line.
"""


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
18 | 9 + 9 = 18⏎#### 18
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
18 | **Step 1:** 9 in each row.⏎⏎**Step 2:** 2 rows.⏎⏎### ✅ Final Answer:⏎$$⏎\boxed{18}⏎$$
18 | Hence the final count is $\boxed{18}$, and we're done.
18 | Thus, the total number of plants in the garden is **$\boxed{18}$**.
18 | So the answer is $\boxed{18}$!
18 | Final answer: \boxed{18}⏎⏎(You can double-check by counting.)
18 | $$n = 2\cdot 9 = \boxed{18}\;.$$
18 | \[\boxed{18}\text{ plants in total.}\]
18 | We have shown that $n\le 18$ and $n\ge 18$, so $n=\boxed{18}$.
18 | Since no smaller number works, the minimum is $\boxed{18}$.
18 | The answer, therefore, is $\boxed{18}$.
18 | Therefore, the smallest positive integer $n$ for which this holds is $n=\boxed{18}$.
18 | Thus there are $2\times9=\boxed{18}$ such arrangements.
18 | So our final answer is $9+9 = \boxed{18}$ square meters.
18 | $x + 2 = 20 \Rightarrow x = \boxed{18}$
18 | $\boxed{18}$ plants.
18 | \boxed{18}⏎⏎Each row has 9.
18 | \boxed{18}⏎⏎- 9 in row one⏎- 9 in row two
18 | Answer⏎\boxed{18}
18 | **Answer**⏎⏎18
18 | Answer: 18 ✓
18 | Answer: 18.0
18 | Answer: $18.
18 | Answer: 18 (eighteen)
18 | Answer: 18 plants in total
18 | Answer: Eighteen plants, i.e. \boxed{18}
18 | The final answer is: 18.⏎⏎Note: no rounding was needed.
18 | The answer is: **18** — since $9\times 2=18$
18 | The answer is 18, which is twice 9.
18 | The answer is 18 plants, nine per row.
18 | Answer: 18; that is, nine per row.
18 | So she needs a total of \boxed{18} plants, no more and no less.
18 | The correct value is \boxed{18}, not 17 as one might expect.
18 | It isn't 17 but \boxed{18}.
18 | It isn't 17; it's \boxed{18}.
18 | Not 17 but \boxed{18}.
18 | Contrary to intuition, the answer is \boxed{18}.
18 | No matter how they are arranged, the total is \boxed{18}.
18 | Even if it rains, the count is \boxed{18}.
18 | Unless stated otherwise we count both rows, giving \boxed{18}.
18 | Without loss of generality $a\le b$; then $n=\boxed{18}$.
18 | Let $n$ be the number of plants. Then $n = \boxed{18}$.
18 | Let us now compute: $9\cdot2=\boxed{18}$.
18 | We try $n=18$ and it works. The answer is \boxed{18}.
18 | After checking all candidates, only \boxed{18} works.
18 | The other root is negative, so $x=\boxed{18}$.
18 | Discarding the negative root we obtain $x=\boxed{18}$.
18 | We need at least \$18, i.e. \boxed{18}.
18 | The wrong turn cost him \boxed{18} minutes.
18 | The number of wrong answers is \boxed{18}.
18 | The number of false statements is \boxed{18}.
18 | The expected number of rolls is \boxed{18}.
18 | The estimated total, rounded, is \boxed{18}.
18 | The difference between the two is \boxed{18}.
18 | The number of students other than Ann is \boxed{18}.
18 | She has \boxed{18} more than Tom.
18 | He guessed correctly \boxed{18} times.
18 | They could buy \boxed{18} books.
18 | So the maximum is at most 18 and this is attained: $\boxed{18}$.
18 | So $a = 3$, $b = 6$, and $ab = \boxed{18}$.
18 | the perimeter is $2(4+5) = \boxed{18}$ cm.
18 | By the Pythagorean theorem $c = \boxed{18}$.
18 | Using the formula, Area = \boxed{18} sq. units.
18 | Area = $\boxed{18}$
18 | Number of ways: $\boxed{18}$
18 | = $9 \times 2$ = $\boxed{18}$
18 | Total = \boxed{18}.
18 | ∴ x = \boxed{18}
18 | Thus $x=\boxed{18}\text{.}$
18 | $\displaystyle \boxed{18}$
18 | ${\boxed{18}}$
18 | $\boxed{\;18\;}$
18 | $\left(\boxed{18}\right)$
18 | $\underline{\boxed{18}}$
18 | $$\begin{aligned}a&=1\\b&=\boxed{18}\end{aligned}$$
18 | $$x=\boxed{18}\qquad\blacksquare$$
18 | $$x=\boxed{18}\qquad\text{(answer)}$$
18 | $x=\boxed{18}$ (since $x>0$).
18 | $x=\boxed{18}$, since $x>0$.
18 | $x=\boxed{18}$ because negative values are impossible.
18 | $x=\boxed{18}$ as claimed.
18 | $x=\boxed{18}$ - done.
18 | \boxed{18} (9 per row, two rows)
18 | \boxed{18}, i.e. nine per row
18 | \boxed{18} plants (nine per row).
18 | \boxed{18}: nine per row.
18 | \boxed{18} is the smallest such number.
18 | \boxed{18} plants must be bought.
18 | \boxed{18} of them are red.
18 | \boxed{18} eggs a day.
18 | \boxed{18} would be our final answer.
18 | Die gesuchte Zahl ist \boxed{18}.
18 | Somit ergibt sich $x=\boxed{18}$.
18 | Die Anzahl der Schüler, die nicht spielen, beträgt \boxed{18}.
18 | **Endergebnis:** 18
18 | Die Lösung der Gleichung lautet $x = \boxed{18}$.
18 | Insgesamt sind es \boxed{18} Stück.
18 | Por tanto, hay \boxed{18} plantas en total.
18 | Entonces $x=\boxed{18}$.
18 | El resultado es \boxed{18}.
18 | La respuesta correcta es 18.
18 | La respuesta final es $\boxed{18}$.
18 | El número de alumnos que no juegan es \boxed{18}.
18 | Ainsi, la somme vaut \boxed{18}.
18 | Le nombre d'élèves qui ne jouent pas est \boxed{18}.
18 | On en déduit que $n=\boxed{18}$.
18 | La solution est \boxed{18}.
18 | Итого: \boxed{18}
18 | Значит, $x=\boxed{18}$.
18 | Получаем $\boxed{18}$ растений.
18 | Правильный ответ: 18.
18 | 综上所述，答案为 $\boxed{18}$。
18 | 共有\boxed{18}种不同的方法。
18 | 解得 $x=\boxed{18}$。
18 | 最小值为$\boxed{18}$。
18 | 因此，总数是\boxed{18}个。
18 | よって、$x=\boxed{18}$。
18 | 合計は\boxed{18}本です。
18 | 따라서 총 \boxed{18}개입니다.
18 | Logo, são necessárias \boxed{18} plantas.
18 | Quindi servono \boxed{18} piante.
18 | Perciò $x=\boxed{18}$.
3 | $a \equiv \boxed{3} \pmod 7$.
x^2 | $f(x) = \boxed{x^2}$ for all $x$.
(1,2) | The vertex is $\boxed{(1,2)}$.
-3 | so $x = \boxed{-3}$.
120 | $5! = \boxed{120}$
4 | $\sqrt{16} = \boxed{4}$
2 | $\lfloor e \rfloor = \boxed{2}$
6 | $|A \cap B| = \boxed{6}$
6 | $\gcd(12,18)=\boxed{6}$
8 | $\log_{2} 256 = \boxed{8}$
30 | $\angle ABC = \boxed{30}^\circ$
x=2 | The equation gives $\boxed{x=2}$.
\frac{3}{4} | \[P = \frac{6}{8} = \boxed{\frac{3}{4}}\]
1:4 | The ratio is $\boxed{1:4}$.
24 | **Conclusion:** The total distance is \(\boxed{24}\) km.
24 | After completing the square we see that the vertex lies at height \(\boxed{24}\).
24 | Putting it all together: $\boxed{24}$
24 | Let's box it: $\boxed{24}$
24 | This gives us our answer of $\boxed{24}$.
24 | giving an answer of $\boxed{24}$.
24 | for a final answer of \boxed{24}.
24 | for a total of $12+12=\boxed{24}$.
24 | The desired sum is $3+21 = \boxed{24}.$
24 | We therefore conclude $k = \boxed{24}$
24 | Hence $n$ must equal $\boxed{24}$.
24 | Hence $n$ must be $\boxed{24}$.
24 | Thus it can only be $\boxed{24}$.
24 | so the value cannot exceed 24, and equality holds for $x=1$; the maximum is $\boxed{24}$.
24 | There cannot be more, so the number is $\boxed{24}$.
24 | Tom doesn't eat any, so \boxed{24} remain.
24 | Nobody else came, so there were \boxed{24} guests.
24 | If not for the rain, 30 would have come; \boxed{24} came.
24 | Without using a calculator: $\boxed{24}$
24 | The two numbers are different, and their sum is $\boxed{24}$.
24 | Its area is $\boxed{24}$, as desired.
24 | as desired, the area is $\boxed{24}$
24 | **Answer:** $24$ (see above)
24 | **Answer:** 24 m — the ladder's length.
24 | **Answer: 24.** The reasoning is above.
24 | Answer: **24** hours.
24 | The answer is 24 — exactly.
24 | The answer is exactly 24.
24 | The answer is simply $24$.
24 | The answer is thus 24
24 | The answer is 24 (not 25, because the last one doesn't count).
24 | The answer is 24, and not 25.
24 | The answer is 24 rather than 25.
24 | The answer is 24, assuming no overlap.
24 | The answer is 24 and we are done.
24 | The answer is: 24
24 | The answer is⏎24
24 | Final Answer: **24**
24 | Final Answer⏎⏎$24$
24 | ### Final answer⏎⏎\boxed{24}
24 | The final answer is **24**.⏎⏎---⏎⏎*If you meant radius rather than diameter, let me know.*
24 | \boxed{24}⏎⏎*(Note: the problem says "at least", so equality is allowed.)*
24 | \boxed{24}⏎⏎Hope that helps! 😊
24 | \boxed{24}⏎⏎Would you like a second solution?
24 | \boxed{24}⏎⏎**Why not 25?** Because the last fence post is shared.
24 | \boxed{24}⏎⏎This is the only solution; no other integer works.
24 | \boxed{24}⏎⏎It is not possible to do better.
24 | \boxed{24}⏎⏎Double-check: 24 / 2 = 12. ✓
24 | \boxed{24}⏎⏎A wrong approach would give 25.
24 | \boxed{24}✅
24 | 🎯 \boxed{24}
24 | > Note: rounding.⏎⏎\boxed{24}
24 | - The answer: \boxed{24}
24 | 1. **Answer:** \boxed{24}
24 | | a | b |⏎|---|---|⏎| 1 | 2 |⏎⏎**Answer: 24**
24 | $\boxed{24}$ minutes after noon.
24 | $\boxed{24}$ ways
24 | $\boxed{24}$ different ways are possible.
24 | \boxed{24}°
24 | $\boxed{24}\ \mathrm{cm^2}$
24 | $\boxed{24}\,\mathrm{m/s}$
24 | $\boxed{24}~\text{units}$
24 | $\boxed{24} \quad \checkmark$
24 | $$\boxed{24}$$✓
24 | $$ \Rightarrow \boxed{24} $$
24 | $$ \boxed{ 24 } $$
24 | $\therefore\; n=\boxed{24}$
24 | $\implies\boxed{24}$
24 | $(a+b)^2 = \boxed{24}$
24 | $f(3) = 27 - 3 = \boxed{24}$
24 | $f(f(2))=\boxed{24}$
24 | $\max f = \boxed{24}$
24 | $\sum_{k} a_k = \boxed{24}$
24 | $\frac{d}{dx} f = \boxed{24}$
24 | $[ABC] = \boxed{24}$
24 | $|x| = \boxed{24}$
24 | $\{1,2\}$ has sum... so total \boxed{24}.
24 | $AB \cdot CD=\boxed{24}$
24 | $4! = \boxed{24}$
24 | $x\in\{24\}$, i.e. $x=\boxed{24}$
24 | By symmetry, \boxed{24}.
24 | By AM-GM, $\boxed{24}$.
24 | By (1), $x=\boxed{24}$.
24 | Using (1) and (2): $\boxed{24}$
24 | (d) \boxed{24}
24 | Part (b): \boxed{24}
24 | Q3. \boxed{24}
24 | Ans. \boxed{24}
24 | Ans: 24
24 | Die Antwort lautet also \boxed{24}.
24 | Das sind \boxed{24} Euro.
24 | Es gibt genau \boxed{24} Möglichkeiten.
24 | Die endgültige Antwort ist $\boxed{24}$.
24 | Endgültige Antwort: 24
24 | **Lösung:** $x = \boxed{24}$
24 | Il y a \boxed{24} élèves.
24 | La bonne réponse est 24.
24 | Réponse: \boxed{24}.
24 | Donc $x = \boxed{24}$.
24 | Luego, el área es \boxed{24}.
24 | Hay \boxed{24} maneras.
24 | **Respuesta:** $\boxed{24}$
24 | Por lo tanto el valor de $x$ es $\boxed{24}$.
24 | Ответ: $\boxed{24}$
24 | Окончательный ответ: 24
24 | Искомое число равно \boxed{24}.
24 | 所以最小值是\boxed{24}。
24 | 【答案】24
24 | 【答案】\boxed{24}
24 | 最终答案：\boxed{24}
24 | 因此 $x=\boxed{24}$，故答案为 24。
24 | 答えは \boxed{24} となる。
24 | ゆえに \boxed{24}
24 | 답은 \boxed{24}이다.
24 | A resposta final é 24.
24 | La risposta finale è 24.
24 | La respuesta es \boxed{24}. La otra opción no es correcta porque no es par.
24 | La réponse est \boxed{24}. L'autre racine n'est pas entière.
24 | 答案是24。这就是最后的结果。
24 | Die Lösung lautet: 24
24 | She kept \boxed{24} since the others had already gone.
24 | She found \boxed{24} eggs, which had all been hidden.
24 | The answer is \boxed{24}, and you can verify that by hand.
24 | Since neither 23 nor 25 works, the answer must be \boxed{24}.
24 | As 5 does not divide n, the answer will be \boxed{24}.
24 | The Mai family has \boxed{24} goats.
24 | Students may write it as a product; the answer is \boxed{24}.
24 | The rain that falls on the roof fills \boxed{24} buckets.
24 | The day falls on \boxed{24}.
24 | Tom pays $\boxed{\$24}$ in total.
24 | Therefore, the answer is:⏎⏎1. **24**
24 | Answer:⏎24. This is because 6 times 4 is 24.
24 | **Answer:**⏎- 24⏎- This follows from step 2.
24 | The answer is 24; the other root is rejected.
24 | The answer is \boxed{24} (the negative root is rejected).
24 | The answer is 24 when rounded to the nearest integer.
24 | The answer is 24, correct to two decimal places.
24 | Antwort: 24 Möglichkeiten
24 | Réponse : 24 élèves
24 | Ответ: 24 яблока
24 | 答案：24个苹果
24 | La risposta è 24, poiché 6 per 4 è 24.
4,9 | **Answer:**⏎⏎- 4⏎- 9
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
18 | $\boxed{18}\ln 2$
18 | $\boxed{18}\sin\theta$
18 | $\boxed{18}y^2$
18 | $\boxed{18}n$
18 | \boxed{18} x + 3
18 | \boxed{18}(x-1)
18 | $\boxed{18}\vec{i}$
18 | $\boxed{18}\mathrm{i}$
18 | $\boxed{18}\text{i}$
18 | $\boxed{18}\hat{k}$
18 | $\boxed{18}_{16}$
18 | $\boxed{18}_{\text{hex}}$
18 | $\boxed{18}\cdot10^3$
18 | $\boxed{18}\times10^{3}$
18 | $\boxed{18}e3$
18 | \boxed{18} million dollars
18 | \boxed{18} billion
18 | $\boxed{18}\,\text{thousand}$
18 | \boxed{18} Mio. Euro
18 | \boxed{18} Mrd.
18 | \boxed{18} millions d'habitants
18 | \boxed{18} mil millones
18 | \boxed{18} milhões
18 | \boxed{18} milioni
18 | \boxed{18} тыс. рублей
18 | \boxed{18}亿人
18 | \boxed{18}百万
18 | \boxed{18}천
18 | $\boxed{18}^{2}$
18 | $\boxed{18}^\prime$
18 | $\boxed{18}''$
18 | $\boxed{18}\,!$
18 | $\boxed{18} \mod 5$
18 | $\boxed{18} \div 3$
18 | \boxed{18} ÷ 3
18 | \boxed{18} × 3
18 | \boxed{18} · 3
18 | \boxed{18} − 3
18 | \boxed{18}–20
18 | \boxed{18} – 20
18 | \boxed{18}..20
18 | \boxed{18}/3
18 | \boxed{18}:3
18 | \boxed{18}°C + 3
18 | $\boxed{18}\%+3\%$
18 | $\boxed{18}\pm 2$
18 | \boxed{18} ± 2
18 | $\boxed{18} \cup \{3\}$
18 | $\boxed{18} \text{ or } 3$
18 | $\boxed{18}\text{ or more}$
18 | $\boxed{18} \to 20$
18 | $\boxed{18} \ldots 20$
18 | $\boxed{18}\choose 3$
18 | $\boxed{18}\sqrt[3]{2}$
18 | $\boxed{18}\frac{1}{2}$
18 | $\boxed{18}½
18 | \boxed{18} 1/2
18 | $\boxed{18}\begin{pmatrix}1\\2\end{pmatrix}$
18 | $-2\boxed{18}$
18 | $2\cdot \boxed{18}$
18 | $2 \times \boxed{18}$
18 | $3 + \boxed{18}$
18 | 3 + \boxed{18}
18 | $= 3 - \boxed{18}$
18 | $x = 3 / \boxed{18}$
18 | $e^{\boxed{18}}$
18 | $\tan \boxed{18}^\circ$
18 | $\cos(\boxed{18})$
18 | $\sqrt[3]{\boxed{18}}$
18 | $\sqrt{x + \boxed{18}}$
18 | $\frac{\boxed{18}}{\pi}$
18 | $\frac{x+\boxed{18}}{2}$
18 | $\lceil \boxed{18} \rceil$
18 | $\| \boxed{18} \|$
18 | $\left|\boxed{18}\right|$
18 | $( 3 , \boxed{18} )$
18 | $\langle 3, \boxed{18}\rangle$
18 | $[\boxed{18}, \infty)$
18 | $(\boxed{18},\infty)$
18 | $\{1, \boxed{18}\}$
18 | $\log_{\boxed{18}} 2$
18 | $a_{\boxed{18}} = 3$
18 | $\int_{0}^{\boxed{18}} x dx$
18 | $\lim_{x\to\boxed{18}} f(x)$
18 | $f^{(\boxed{18})}(x)$
18 | $P(X=\boxed{18})$
18 | $x > \boxed{18}$
18 | $x \leq \boxed{18}$
18 | $x\neq\boxed{18}$
18 | $x \not= \boxed{18}$
18 | $x \approx 2\cdot\boxed{18}$
18 | $\boxed{18} \neq x$
18 | $\boxed{18} > x$
18 | $\boxed{18} = 17$
18 | $\boxed{18} = 2x$
18 | $\boxed{18} \approx 2x$
18 | $17 = \boxed{18} = 17$
18 | $x = \boxed{18} + y$
18 | $x = \boxed{18}$$+ 2$
18 | $x = \boxed{18}$⏎$- y$
18 | x = \boxed{18}⏎+ 5
18 | x = \boxed{18}⏎⏎$+ 5$
18 | \boxed{18} \\⏎+ 5
18 | \boxed{18} and a half
18 | \boxed{18} plus 1
18 | \boxed{18} divided by 2
18 | \boxed{18} less 2
18 | \boxed{18} percent
18 | \boxed{18} pct
18 | \boxed{18} per cent
18 | \boxed{18} in binary
18 | \boxed{18} base 9
18 | \boxed{18} dozens
18 | \boxed{18} gross
18 | a third of \boxed{18}
18 | double \boxed{18}
18 | 20% of \boxed{18}
18 | the square root of \boxed{18}
18 | the absolute value of \boxed{18}
18 | the sum of 3 and \boxed{18}
18 | the product of 2 and \boxed{18}
18 | three more than \boxed{18}
18 | up to \boxed{18}
18 | no more than \boxed{18}
18 | fewer than \boxed{18}
18 | over \boxed{18}
18 | under \boxed{18}
18 | The answer key prints 18; I do not agree.
18 | The book prints \boxed{18}, I disagree.
18 | The book prints \boxed{18}. I disagree.
18 | The textbook says the answer is 18. I get something else.
18 | My tutor claims \boxed{18}, which can't be.
18 | The solution manual gives \boxed{18}, which is a typo.
18 | The published answer is \boxed{18}; it is wrong.
18 | Their answer: \boxed{18}
18 | Answer given in the book: 18
18 | Everyone thinks it is \boxed{18}.
18 | It was believed to be \boxed{18}.
18 | A wrong approach yields \boxed{18}.
18 | Naively, \boxed{18}.
18 | A naive count gives \boxed{18}.
18 | If we forget the gate, we get \boxed{18}.
18 | By mistake I got \boxed{18}.
18 | I initially got \boxed{18}.
18 | My first attempt gave \boxed{18}.
18 | It can't be \boxed{18}.
18 | It must not be \boxed{18}.
18 | It is far from \boxed{18}.
18 | There is no way it is \boxed{18}.
18 | I would not box \boxed{18}.
18 | I refuse to say \boxed{18}.
18 | It's anything except \boxed{18}.
18 | Never \boxed{18}.
18 | Not \boxed{18}!
18 | \boxed{18} — wrong!
18 | \boxed{18} (incorrect)
18 | \boxed{18}, but that is impossible.
18 | \boxed{18}, however this is wrong.
18 | \boxed{18}? I doubt it.
18 | \boxed{18} is too small.
18 | \boxed{18} does not satisfy the equation.
18 | \boxed{18} is an extraneous solution.
18 | \boxed{18} must be rejected.
18 | \boxed{18} has to be excluded.
18 | \boxed{18} was the answer to the previous part.
18 | \boxed{18} isn't it.
18 | \boxed{18}⏎⏎Oops, I forgot a row. It should be 27.
18 | \boxed{18}⏎⏎Sorry, that's not right.
18 | \boxed{18}⏎⏎This is incorrect.
18 | \boxed{18}⏎⏎I was wrong.
18 | \boxed{18}⏎⏎But that's wrong.
18 | \boxed{18}⏎⏎Scratch that.
18 | The answer is 18 or so.
18 | The answer is 18ish.
18 | The answer is more than 18.
18 | The answer is at least 18.
18 | The answer is ≥ 18.
18 | The answer is > 18.
18 | The answer is ≠ 18.
18 | The answer is not equal to 18.
18 | The answer is 18x.
18 | The answer is 18/5.
18 | The answer is 18:5.
18 | The answer is -18.
18 | The answer is 18 thousand.
18 | The answer is 1 8.
18 | The answer is 18 and 19.
18 | The answer is 18, 19.
18 | The answer is 18 to 20.
18 | The answer is 18-20.
18 | Answer: 18 - 3
18 | Answer: 18 – 20
18 | Answer: 18 minus 3
18 | Answer: 18\sqrt{2}
18 | Answer: $18$$\sqrt{2}$
18 | Answer: $18x$
18 | Answer: ln 18
18 | Answer: \ln 18
18 | Answer: 18_9
18 | Answer: 18^2
18 | Answer: |18|-3
18 | Ist es \boxed{18}?
18 | Es ist keineswegs \boxed{18}.
18 | Das Ergebnis ist weder 17 noch \boxed{18}.
18 | Im Lehrbuch steht \boxed{18}, was falsch ist.
18 | Laut Lösungsbuch \boxed{18}.
18 | Ich bezweifle, dass es \boxed{18} ist.
18 | Man könnte \boxed{18} meinen.
18 | Antwort: nicht 18
18 | Die Antwort ist keine 18.
18 | \boxed{18} wäre falsch.
18 | \boxed{18} stimmt nicht.
18 | \boxed{18}? Nein.
18 | La respuesta nunca es \boxed{18}.
18 | La respuesta jamás sería \boxed{18}.
18 | Dudo que sea \boxed{18}.
18 | No puede ser \boxed{18}.
18 | Respuesta: no es 18
18 | El profesor dijo \boxed{18}, pero se equivoca.
18 | \boxed{18}, lo cual es falso.
18 | \boxed{18} no es la respuesta.
18 | Tampoco es \boxed{18}.
18 | La réponse n'est jamais \boxed{18}.
18 | Je doute que ce soit \boxed{18}.
18 | Il est impossible que ce soit \boxed{18}.
18 | Le manuel indique \boxed{18}, je ne suis pas d'accord.
18 | Réponse : pas 18
18 | \boxed{18}, ce qui est faux.
18 | Certainement pas \boxed{18}.
18 | 答案绝不是\boxed{18}。
18 | 答案不等于\boxed{18}。
18 | 我不认为答案是\boxed{18}。
18 | 课本给出的答案是\boxed{18}，这是错的。
18 | 有人说答案是\boxed{18}。
18 | \boxed{18}不是答案。
18 | \boxed{18}是不正确的。
18 | 答案：非18
18 | Это точно не \boxed{18}.
18 | Ответом не является \boxed{18}.
18 | Сомневаюсь, что это \boxed{18}.
18 | В учебнике указано \boxed{18}, это ошибка.
18 | \boxed{18} — это неправильно.
18 | Ответ никак не \boxed{18}.
18 | Não é \boxed{18}.
18 | A resposta nunca será \boxed{18}.
18 | Duvido que seja \boxed{18}.
18 | Non è \boxed{18}.
18 | Dubito che sia \boxed{18}.
18 | La risposta non può essere \boxed{18}.
18 | \boxed{18}ではないと思います。
18 | 答えは18ではありません。
18 | 답은 18이 아닙니다.
18 | \boxed{18}은 오답입니다.
24 | I am convinced it's not \boxed{24}.
24 | That the answer is \boxed{24} is false.
24 | The claim that the answer is \boxed{24} is wrong.
24 | To say \boxed{24} would be wrong.
24 | Do not answer \boxed{24}.
24 | Don't write \boxed{24}.
24 | You should avoid \boxed{24}.
24 | We must reject \boxed{24}.
24 | Clearly \boxed{24} is impossible.
24 | \boxed{24} can't work because it's even.
24 | \boxed{24} isn't even an integer solution.
24 | \boxed{24} is one off.
24 | \boxed{24} is off by one.
24 | \boxed{24} overcounts by one.
24 | \boxed{24} is an overestimate.
24 | \boxed{24} is only an approximation.
24 | \boxed{24} is not what we want.
24 | \boxed{24} is a distractor.
24 | \boxed{24} is what my calculator shows, but I don't trust it.
24 | \boxed{24}, or so the book claims.
24 | \boxed{24}, says the key.
24 | \boxed{24}, if I am not mistaken? No.
24 | \boxed{24}, but the correct answer is 25.
24 | \boxed{24}; however, the right answer is 25.
24 | \boxed{24}. But wait, that's incorrect.
24 | \boxed{24}. Wait, I mis-added. It's 25.
24 | \boxed{24}. No, 25.
24 | \boxed{24}. Hmm, actually 25.
24 | \boxed{24}. Correction: 25.
24 | \boxed{24}. On second thought, 25.
24 | \boxed{24}. Sorry, I meant 25.
24 | \boxed{24}⏎⏎EDIT: it is 25.
24 | \boxed{24}⏎⏎That answer is wrong.
24 | \boxed{24}⏎⏎The above is wrong.
24 | \boxed{24}⏎⏎I take that back.
24 | \boxed{24}⏎⏎I disagree with that.
24 | \boxed{24}⏎⏎So the correct answer is 25.
24 | \boxed{24}⏎⏎The correct answer is 25.
24 | \boxed{24}⏎⏎Final answer: 25
24 | \boxed{24}⏎25
24 | \boxed{24} and 25
24 | \boxed{24}/25
24 | \boxed{24} vs 25
24 | \boxed{24} < 25
24 | \boxed{24} ≠ x
24 | \boxed{24}²
24 | \boxed{24}%
24 | \boxed{24}k
24 | \boxed{24} k
24 | \boxed{24}M
24 | \boxed{24}e5
24 | \boxed{24}E5
24 | \boxed{24}x10^5
24 | \boxed{24} x 10^5
24 | \boxed{24}**2
24 | \boxed{24}^3
24 | \boxed{24}_8
24 | \boxed{24}i + 3
24 | \boxed{24}j
24 | \boxed{24}√2
24 | \boxed{24}π
24 | \boxed{24}\alpha
24 | $\boxed{24}\,dx$
24 | $\boxed{24}\mid 48$
24 | $\boxed{24}\in S$
24 | $\boxed{24}\subset S$
24 | $\boxed{24}\land p$
24 | $\boxed{24}\oplus 3$
24 | $\boxed{24}\circ f$
24 | $\boxed{24}\cdot$
24 | $\boxed{24}\equiv x$
24 | $\boxed{24}:=x+3$
24 | $\boxed{24}\;\frac{m}{s}+1$
24 | $\boxed{24}\frac{1}{3}$
24 | $\boxed{24}\overline{3}$
24 | $\boxed{24}.\overline{3}$
24 | $\boxed{24}.3$
24 | $\boxed{24},3$
24 | $\boxed{24}'$
24 | $\boxed{24}\degree\text{F}-2$
24 | $0.\boxed{24}$
24 | $.\boxed{24}$
24 | $1{,}0\boxed{24}$
24 | $10\boxed{24}$
24 | $10,\boxed{24}$
24 | $10^{\boxed{24}}$
24 | $a\boxed{24}b$
24 | $n-\boxed{24}$
24 | $n^2-\boxed{24}$
24 | $\pi-\boxed{24}$
24 | $\frac{1}{2}-\boxed{24}$
24 | $\frac12\boxed{24}$
24 | $\frac{1}{2}\boxed{24}$
24 | $(3)\boxed{24}$
24 | $3(\boxed{24})$
24 | $-\left(\boxed{24}\right)$
24 | $f(\boxed{24})=3$
24 | $f(x)=\sin(\boxed{24})$
24 | $\exp(\boxed{24})$
24 | $\Gamma(\boxed{24})$
24 | $\binom{n}{\boxed{24}}$
24 | $\sqrt{2}^{\boxed{24}}$
24 | $\sqrt[\boxed{24}]{2}$
24 | $\prod_{i=1}^{\boxed{24}} i$
24 | $x \mod \boxed{24}$
24 | $x \pmod{\boxed{24}}$
24 | $x \equiv 3 \pmod{\boxed{24}}$
24 | $\max(3,\boxed{24})$
24 | $\gcd(3,\boxed{24})$
24 | $\{x : x<\boxed{24}\}$
24 | $(-\infty,\boxed{24})$
24 | $[1,\boxed{24}]$
24 | $1..\boxed{24}$
24 | $1-\boxed{24}$
24 | $1:\boxed{24}$
24 | $1/\boxed{24}$
24 | $\dfrac{1}{\boxed{24}}$
24 | $\lfloor\frac{\boxed{24}}{5}\rfloor$
24 | $\overline{\boxed{24}}$
24 | $\vec{\boxed{24}}$
24 | $\hat{\boxed{24}}$
24 | the reciprocal of \boxed{24}
24 | the negative of \boxed{24}
24 | the factorial of \boxed{24}
24 | the log of \boxed{24}
24 | log base 2 of \boxed{24}
24 | one less than \boxed{24}
24 | one fewer than \boxed{24}
24 | half as many as \boxed{24}
24 | a multiple of \boxed{24}
24 | between 20 and \boxed{24}
24 | at least \boxed{24}
24 | at most \boxed{24}
24 | close to \boxed{24}
24 | approximately half of \boxed{24}
24 | Some answer \boxed{24}.
24 | The forum says \boxed{24}.
24 | According to Wolfram, \boxed{24}.
24 | The AI said \boxed{24}.
24 | The previous solver had \boxed{24}.
24 | He obtained \boxed{24}, wrongly.
24 | The key lists \boxed{24}; I think that is an error.
24 | The printed answer is \boxed{24}, but it's a misprint.
24 | In the book: \boxed{24}. I disagree.
24 | Book answer: \boxed{24}
24 | Answer (book): 24
24 | Expected answer: 24? I think not.
24 | My old answer: 24
24 | Guess: 24
24 | Tentative answer: 24
24 | Wrong: 24
24 | Incorrect answer: 24
24 | Not the answer: 24
24 | Is the answer 24? No.
24 | Is \boxed{24} the answer?
24 | Why not \boxed{24}?
24 | What if \boxed{24}?
24 | Could the answer be \boxed{24}?
24 | Suppose it's \boxed{24}.
24 | Let's say \boxed{24}.
24 | Let's try \boxed{24}.
24 | Say, \boxed{24}.
24 | Assume $n=\boxed{24}$.
24 | Assuming $n=\boxed{24}$
24 | If $n=\boxed{24}$ then $2n=48$.
24 | For $n=\boxed{24}$ we would get a contradiction.
24 | When $n=\boxed{24}$, it fails.
24 | Imagine the answer were \boxed{24}.
24 | It would be \boxed{24} if it were even.
24 | It could have been \boxed{24}.
24 | It might be \boxed{24}.
24 | It's possibly \boxed{24}.
24 | I doubt \boxed{24}.
24 | Unlikely: \boxed{24}
24 | I can't decide between \boxed{24} and 25.
24 | Answer: 24 or 25
24 | Answer: 24, 25
24 | Answer: 24 & 25
24 | Answer: between 24 and 25
24 | Answer: less than 24
24 | Answer: ≥24
24 | Answer: 24+
24 | Answer: 24 + 1
24 | Answer: 24 - 1
24 | Answer: 24 x
24 | Answer: 24x
24 | Answer: 24%
24 | Answer: 24 million
24 | Answer: 24 Millionen
24 | Answer: not 24
24 | Answer: unknown, maybe 24
24 | Answer: 24, I guess? Not sure, no.
24 | Answer: none. 24 is wrong
24 | Die Lösung ist sicher nicht \boxed{24}.
24 | Es kann nicht \boxed{24} sein.
24 | \boxed{24} ist nicht die Antwort.
24 | \boxed{24} passt nicht.
24 | \boxed{24}, aber das ist falsch.
24 | Ich glaube, das Buch irrt mit \boxed{24}.
24 | Im Buch steht \boxed{24}.
24 | Falls es \boxed{24} ist
24 | No es \boxed{24}, sino otra cosa.
24 | \boxed{24} no puede ser.
24 | \boxed{24} está mal.
24 | La respuesta no puede ser \boxed{24}.
24 | No estoy de acuerdo con \boxed{24}.
24 | Es incorrecto decir \boxed{24}.
24 | Ce ne peut être \boxed{24}.
24 | \boxed{24} ne convient pas.
24 | \boxed{24} n'est pas la réponse.
24 | On ne trouve pas \boxed{24}.
24 | C'est faux: \boxed{24}.
24 | \boxed{24} не подходит.
24 | \boxed{24} не является ответом.
24 | Нельзя сказать, что ответ \boxed{24}.
24 | Неправда, что ответ \boxed{24}.
24 | 答案肯定不是\boxed{24}。
24 | 并不等于\boxed{24}。
24 | \boxed{24}不符合题意。
24 | \boxed{24}这个答案是错的。
24 | 难道是\boxed{24}吗？
24 | 正确答案不是\boxed{24}，而是25。
24 | Não pode ser \boxed{24}.
24 | \boxed{24} não está certo.
24 | Non può essere \boxed{24}.
24 | \boxed{24} non va bene.
24 | \boxed{24}ではない。
24 | \boxed{24}は誤りだ。
24 | \boxed{24}가 아니다.
24 | Mucha gente diría que la respuesta es 24. Es falso.
24 | El resultado es \boxed{24}. Eso no es cierto.
24 | Beaucoup pensent que la réponse est 24.
24 | La réponse est 24. C'est inexact.
24 | La réponse est \boxed{24}. Ce n'est pas vrai.
24 | Die Antwort ist 24. Das ist leider falsch.
24 | Die Antwort ist 24. Das stimmt so nicht.
24 | Angeblich ist die Antwort \boxed{24}.
24 | It would be \boxed{24} had we not lost one.
24 | The count is \boxed{24} had the dice been fair.
24 | My neighbour got \boxed{24}, which I can't confirm.
24 | It is \boxed{24}, but I cannot verify that.
24 | Certains répondent \boxed{24} ; ils se trompent.
24 | The answer: somewhere around \boxed{24}
24 | The answer is \boxed{24}, minus the two corners.
24 | The answer will not be \boxed{24}.
24 | It is neither clear nor proven that the answer must be \boxed{24}.
24 | Viele denken, die Antwort ist 24.
24 | A resposta é 24. Isso está errado.
24 | Muitos dizem que a resposta é 24.
24 | La risposta è 24. Questo è sbagliato.
24 | Ответ: 24. Это неверно.
24 | Все думают, что ответ: 24.
24 | 答案是24。但这不对。
24 | 很多人觉得答案是24。
24 | 答えは24です。これは間違いです。
24 | 정답은 24입니다. 이것은 틀렸습니다.
24 | I refuse to believe the answer is 24.
24 | You might get \boxed{24}.
24 | It is \boxed{24}, but that double counts the corners.
24 | **Answer:**⏎⏎- 24⏎- 9
24 | Answer:⏎1. $x = 24$⏎2. $x = 9$
24 | Antwort: 24 hoch drei
24 | Antwort: 24 geteilt durch zwei
24 | So x = \boxed{24}; this root is rejected.
24 | The answer is 24 rounded to 20.
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
C | The answer is C. Not A, since friction is ignored.
C | **Final Answer: C**
C | ### Answer: C
C | Answer: **(C)**
C | Answer: \(C\)
C | Answer: $\text{C}$
C | Answer: $\boxed{C}$
C | Answer - C
C | Answer is C
C | So, option C.
C | Hence, the correct option is (C).
C | Therefore, the correct answer is **C) Rome**.
C | The correct answer is: C. Rome
C | I'd say C.
C | I'll go with C.
C | I would choose C — the only one that fits.
C | My answer: C
C | It must be C.
C | C is the right choice.
C | Only C is correct.
C | Thus C.
C | Choose C.
C | We have $v = \boxed{3\,\text{m/s}}$.⏎⏎**Answer: C**
C | \boxed{E = mc^2} so⏎⏎The answer is C.
C | The value is \boxed{42}, which is option C.⏎⏎Answer: C
C | Answer: C⏎⏎Explanation: A and B are wrong.
C | Answer: C (not A)
C | Answer: C, not A
C | Answer: C rather than A
C | Answer: C because B is false
C | Lösung: ...⏎⏎Antwort: C)
C | Die Antwort ist C.
C | Antwort C ist richtig.
C | La respuesta es C.
C | La respuesta es la opción C.
C | Respuesta correcta: C
C | La réponse est C.
C | Réponse: (C)
C | Ответ: C)
C | Правильный ответ — C.
C | 答案选C
C | 故答案为C。
C | 应选C。
C | 综上，选 C。
C | 答案：(C)
C | 正解はCです。
C | 답: C
C | Resposta correta: C
C | Risposta corretta: C
C | <think>A? B?</think>C
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
C | Answer: A, not C
C | Answer: A rather than C
C | Answer: A (C is wrong)
C | Answer: neither C nor D
C | Answer: C/D
C | Answer: (C) and (D)
C | Answer: C & D
C | Answer: C or maybe D
C | Answer: not C
C | Answer: C is wrong
C | C is not correct.
C | Option C is incorrect.
C | C cannot be right.
C | I wouldn't choose C.
C | I'd rather not pick C.
C | It can't be C.
C | Anything but C.
C | Not C.
C | If C were true, then yes.
C | Is the answer C?
C | C?
C | Perhaps C.
C | My guess would be D, or C.
C | The book says C; I disagree.
C | My friend picked C.
C | Antwort: nicht C
C | Die Antwort ist nicht C.
C | Respuesta: no es C
C | La réponse n'est pas C.
C | 答案不是C
C | 不选C
C | C不正确
C | Ответ: не C
C | C — неправильный ответ.
C | \boxed{C}⏎⏎Answer: D
C | \boxed{C = 5}⏎⏎Answer: D
C | \boxed{C, D}⏎⏎Answer: C
C | The options are A, B, C and D.
C | A) 1 B) 2 C) 3
C | Cat
""")
"""Not paid by it."""
